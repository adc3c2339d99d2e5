import type { Scope } from '../core/scope.ts'
import { SendQueue } from '../native/send-queue.ts'
import { defaultSocketOptions, type SocketOptions } from './socket-link.ts'

/** Finds the addresses of a name. IP addresses never get here. */
export interface Resolver {
  /**
   * Addresses in order of preference, at least one; IPv4 and IPv6 as the system has them. Throws
   * `net.no-address` or `net.resolve`. The lookup belongs to `scope` and ends with it.
   */
  resolve(scope: Scope, name: string): Promise<readonly string[]>
}

/** What listening and dialling share in one program. */
export interface Network {
  readonly resolver: Resolver
  readonly sendQueue: SendQueue
  readonly socket: SocketOptions
}

export function network(resolver: Resolver, socket: Partial<SocketOptions> = {}): Network {
  return { resolver, sendQueue: new SendQueue(), socket: { ...defaultSocketOptions, ...socket } }
}
