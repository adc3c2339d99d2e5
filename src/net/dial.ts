import net from 'node:net'
import { type Endpoint, formatEndpoint } from '../core/endpoint.ts'
import { asError, type SluiceError } from '../core/errors.ts'
import type { Link } from '../core/link.ts'
import { clean, errorOf, type Scope } from '../core/scope.ts'
import { isIp } from '../wire/address.ts'
import { netError, systemError } from './errors.ts'
import { pathOfHost } from './listen.ts'
import type { Network } from './network.ts'
import { highWaterBytes, SocketLink } from './socket-link.ts'

/** RFC 8305 section 5: how long one attempt may take before the next address is tried beside it. */
const attemptDelayMs = 250
/** Addresses of one name that are tried at the most. */
const addressesMax = 16
/** Node hands the second one on to the stream; its types do not know that. */
const socketOptions = { allowHalfOpen: true, readableHighWaterMark: highWaterBytes }

export interface DialOptions {
  readonly connectTimeoutMs: number
  /** The local address to dial from. */
  readonly from?: string
}

/**
 * Dials a TCP target or a UNIX socket. A name is resolved and its addresses are tried one beside the
 * other, the next after 250 ms or at the first failure (RFC 8305); the first that connects wins and the
 * others are closed. The dial belongs to `owner`: when that ends, nothing of it is left. Throws
 * `net.refused`, `net.unreachable`, `net.timeout`, `net.connect-timeout`, `net.no-descriptors`,
 * `net.resolve`, `net.no-address`, or what `owner` ended with.
 */
export async function dial(
  network: Network,
  owner: Scope,
  target: Endpoint,
  options: DialOptions,
): Promise<Link> {
  const scope = owner.child('dial', formatEndpoint(target))
  const timer = scope.deadline(options.connectTimeoutMs, 'connect', () =>
    netError('connect-timeout', {
      call: 'connect',
      system: 'ETIMEDOUT',
      detail: { ms: options.connectTimeoutMs },
    }),
  )
  try {
    const socket = await race(network, scope, target, options)
    timer.drop()
    return linkOver(socket, network, owner)
  } catch (thrown) {
    throw asError(thrown)
  } finally {
    await scope.end(clean)
  }
}

/** The owner may have ended between the connect and now; then the socket has nobody else. */
function linkOver(socket: net.Socket, network: Network, owner: Scope): Link {
  try {
    return SocketLink.over(socket, owner, 'far', network.sendQueue, network.socket)
  } catch (thrown) {
    socket.destroy()
    throw thrown
  }
}

async function race(
  network: Network,
  scope: Scope,
  target: Endpoint,
  options: DialOptions,
): Promise<net.Socket> {
  const path = pathOfHost(target.host)
  const addresses =
    path !== null || isIp(target.host) !== 0
      ? [target.host]
      : interleave(await resolved(network, scope, target.host))
  return new Promise<net.Socket>((resolve, reject) => {
    const attempts = new Attempts(scope, addresses.slice(0, addressesMax), target, options)
    scope.onEnd(ending => {
      attempts.stop()
      reject(errorOf(ending))
    })
    attempts.run(resolve, reject)
  })
}

async function resolved(network: Network, scope: Scope, name: string): Promise<readonly string[]> {
  const ended = new Promise<never>((_, reject) => {
    scope.onEnd(ending => {
      reject(errorOf(ending))
    })
  })
  return Promise.race([network.resolver.resolve(scope, name), ended])
}

/** IPv6 and IPv4 in turn, beginning with the family that came first (RFC 8305 section 4). */
export function interleave(addresses: readonly string[]): string[] {
  const [first] = addresses
  if (first === undefined) return []
  const family = isIp(first)
  const same = addresses.filter(address => isIp(address) === family)
  const others = addresses.filter(address => isIp(address) !== family)
  return same
    .flatMap((address, at) => {
      const other = others[at]
      return other === undefined ? [address] : [address, other]
    })
    .concat(others.slice(same.length))
}

/** The attempts of one dial; whoever loses is closed before the winner is given away. */
class Attempts {
  readonly #scope: Scope
  readonly #addresses: readonly string[]
  readonly #target: Endpoint
  readonly #options: DialOptions
  readonly #open = new Set<net.Socket>()
  #next = 0
  #firstFault: SluiceError | null = null
  #isOver = false

  constructor(scope: Scope, addresses: readonly string[], target: Endpoint, options: DialOptions) {
    this.#scope = scope
    this.#addresses = addresses
    this.#target = target
    this.#options = options
  }

  run(resolve: (socket: net.Socket) => void, reject: (why: SluiceError) => void): void {
    const timer = this.#scope.timer('next address', () => {
      more()
    })
    const more = (): void => {
      if (this.#isOver) return
      const address = this.#addresses[this.#next]
      if (address === undefined) {
        if (this.#open.size > 0) return
        this.#isOver = true
        reject(this.#firstFault ?? netError('no-address', { call: 'resolve' }))
        return
      }
      this.#next += 1
      if (this.#next < this.#addresses.length) timer.setAfter(attemptDelayMs)
      this.#attempt(address, resolve, more)
    }
    more()
  }

  #attempt(address: string, resolve: (socket: net.Socket) => void, more: () => void): void {
    const socket = new net.Socket(socketOptions)
    socket.pause()
    this.#open.add(socket)
    const held = this.#scope.hold('socket', `connecting ${address}`, () => {
      if (this.#open.delete(socket)) socket.destroy()
    })
    const onError = (thrown: Error): void => {
      this.#open.delete(socket)
      held.drop()
      this.#firstFault ??= systemError(thrown, 'connect')
      more()
    }
    socket.once('error', onError)
    socket.once('connect', () => {
      socket.off('error', onError)
      this.#open.delete(socket)
      held.drop()
      if (this.#isOver) {
        socket.destroy()
        return
      }
      this.#isOver = true
      this.stop()
      socket.setNoDelay(true)
      resolve(socket)
    })
    socket.connect(this.#connectOptions(address))
  }

  #connectOptions(address: string): net.SocketConnectOpts {
    const path = pathOfHost(address)
    if (path !== null) return { path }
    const { from } = this.#options
    const isSameFamily = from !== undefined && isIp(from) === isIp(address)
    return {
      host: address,
      port: this.#target.port,
      autoSelectFamily: false,
      ...(isSameFamily ? { localAddress: from } : {}),
    }
  }

  /** Closes every attempt that has not won. */
  stop(): void {
    this.#isOver = true
    for (const socket of this.#open) {
      socket.removeAllListeners('error')
      socket.on('error', ignoreLate)
      socket.destroy()
    }
    this.#open.clear()
  }
}

/** An attempt that was given up may still fail; its failure concerns nobody. */
function ignoreLate(): void {
  return undefined
}
