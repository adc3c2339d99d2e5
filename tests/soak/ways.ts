import type { Reason } from '../../src/core/flow-record.ts'

/** One way for a flow to live and end, and what its record may say then. */
export interface Way {
  readonly weight: number
  /** It ends by a deadline, so it is played beside the others. */
  readonly isSlow: boolean
  readonly reasons: readonly Reason[]
}

const fast = (weight: number, ...reasons: readonly Reason[]): Way => ({
  weight,
  isSlow: false,
  reasons,
})
const slow = (weight: number, ...reasons: readonly Reason[]): Way => ({
  weight,
  isSlow: true,
  reasons,
})

/** Every way to end that the outside can bring about; weights are per mille. */
export const ways = {
  'client-ends-first': fast(140, 'clean'),
  'server-ends-first': fast(140, 'clean'),
  'half-close': fast(80, 'clean'),
  'both-at-once': fast(60, 'clean'),
  'client-reset': fast(80, 'reset'),
  'server-reset': fast(80, 'reset'),
  'refused-tunnel': fast(30, 'refused'),
  'refused-socks': fast(20, 'refused'),
  'refused-http': fast(20, 'refused'),
  'bad-head': fast(40, 'error', 'refused'),
  'cut-head': fast(20, 'error'),
  'zero-byte-end': fast(40, 'clean'),
  // The reset may come before the connection is accepted, while it is dialled, or later.
  'zero-byte-reset': fast(30, 'reset', 'error'),
  socks5: fast(40, 'clean'),
  socks4: fast(20, 'clean'),
  'socks-name': fast(20, 'clean'),
  'http-connect': fast(30, 'clean'),
  'http-forward': fast(40, 'clean'),
  // The association ends with its control connection, which may be reset.
  'socks-udp': fast(30, 'clean', 'error', 'reset'),
  proxied: fast(20, 'clean'),
  'bad-proxied': fast(10, 'error'),
  unix: fast(20, 'clean'),
  'gone-while-dialing': fast(6, 'reset'),
  // Once it has sent something nobody looks at it before the dial is over.
  'gone-after-first-bytes': fast(4, 'reset', 'connect-timeout'),
  'dial-timeout': slow(4, 'connect-timeout'),
  'silent-handshake': slow(6, 'handshake-timeout'),
  abandoned: slow(6, 'idle'),
  stalled: slow(4, 'write-stall', 'idle'),
  udp: slow(6, 'idle'),
  /** Only at the very end: what is open when the engine stops. */
  stopped: slow(0, 'stopped'),
} as const satisfies Readonly<Record<string, Way>>

export type WayName = keyof typeof ways
export const wayNames: readonly WayName[] = Object.keys(ways).filter(isWayName)

export function isWayName(name: string): name is WayName {
  return Object.hasOwn(ways, name)
}

/** Clients of one way come from one network of the loopback, so that a record tells its way. */
const firstNetwork = 16
export function networkOf(way: WayName): number {
  return firstNetwork + wayNames.indexOf(way)
}

/** Null where the address says nothing: a UNIX socket, or a client that was gone before `accept`. */
export function wayOfAddress(host: string): WayName | null {
  const [first, second] = host.split('.')
  if (first !== '127') return null
  return wayNames[Number(second) - firstNetwork] ?? null
}

/** Where the engine listens. */
export interface Doors {
  readonly tunnels: readonly number[]
  readonly closed: number
  readonly deaf: number
  readonly udp: number
  readonly socks: number
  readonly http: number
  readonly mixed: number
  readonly proxied: number
  readonly unix: string
}

/** Where the origin listens. */
export interface Origin {
  readonly tcp: number
  readonly http: number
  readonly udp: number
  /** Takes no connection: a dial there hangs. */
  readonly deaf: number
}

/** Nobody listens there. */
export const closedPort = 1

/** Between the engine's process and that of clients and origin. */
export type Order =
  | { readonly kind: 'doors'; readonly doors: Doors; readonly patienceMs: number }
  | {
      readonly kind: 'run'
      readonly flows: number
      readonly seed: number
      readonly atOnce: number
      readonly hasSlow: boolean
      /** Only ways with this in their name. */
      readonly only: string
    }
  | { readonly kind: 'linger'; readonly flows: number }
  | { readonly kind: 'quit' }

export type Told =
  | { readonly kind: 'origin'; readonly origin: Origin }
  | {
      readonly kind: 'ran'
      /** Connections and associations that reached the engine. */
      readonly made: Readonly<Partial<Record<WayName, number>>>
      /** What a client saw that it should not have; the first few. */
      readonly faults: readonly string[]
      readonly faultsTotal: number
      readonly delayMs: number
    }
  | { readonly kind: 'lingering' }
