import type * as v from 'valibot'
import type { Link } from '../core/link.ts'
import type { PacketLink } from '../core/packets.ts'
import type { Scope } from '../core/scope.ts'
import type { Network } from '../net/network.ts'
import type { FlowRequest } from './flow.ts'

export interface OutboundContext {
  readonly network: Network
  readonly connectTimeoutMs: number
  /** The local address to dial from, or null. */
  readonly sendThrough: string | null
}

/** An outbound with its options, ready to dial. What it makes belongs to `scope`, the flow. */
export interface OutboundHandler {
  /** A link to `request.target`. Throws the first failure, with `call` set where a system call failed. */
  link(request: FlowRequest, scope: Scope): Promise<Link>
  /** A packet link for `request`. */
  packets(request: FlowRequest, scope: Scope): Promise<PacketLink>
}

/** An outbound protocol: a value on a list. */
export interface Outbound {
  readonly type: string
  readonly aliases: readonly string[]
  readonly options: v.GenericSchema
  create(options: unknown, context: OutboundContext): OutboundHandler
}

export interface OutboundDefinition<Options> {
  readonly type: string
  readonly aliases?: readonly string[]
  readonly options: v.GenericSchema<unknown, Options>
  create(options: Options, context: OutboundContext): OutboundHandler
}

/** Makes an outbound protocol from its definition. */
export function defineOutbound<Options>(definition: OutboundDefinition<Options>): Outbound {
  return {
    type: definition.type,
    aliases: definition.aliases ?? [],
    options: definition.options,
    // The configuration has parsed the options with this very schema.
    create: (options, context) => definition.create(options as Options, context),
  }
}
