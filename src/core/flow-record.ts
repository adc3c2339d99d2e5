import type { Call, ErrorCode, SluiceError } from './errors.ts'
import type { WayState } from './relay-states.ts'

/** Why a flow ended, for logs and counters. `clean`: both directions ended by themselves. */
export type Reason =
  | 'clean'
  | 'reset'
  | 'error'
  | 'idle'
  | 'half-close-idle'
  | 'write-stall'
  | 'connect-timeout'
  | 'handshake-timeout'
  | 'keepalive'
  | 'stopped'
  | 'refused'

/** Which side of a flow: the one that came to us, the one we dialled, or ourselves. */
export type Side = 'near' | 'far' | 'local'

export interface Counted {
  /** Bytes read from the source. */
  readonly read: number
  /** Bytes the other side's kernel, or the layer that stands for it, has accepted. */
  readonly written: number
}

/** How a relay ended: the first failure decides, later ones are only counted. */
export interface RelayRecord {
  readonly reason: Reason
  readonly side: Side
  readonly call: Call | null
  readonly code: ErrorCode | null
  readonly system: string | null
  readonly why: SluiceError | null
  /** Near to far. */
  readonly up: Counted
  /** Far to near. */
  readonly down: Counted
  readonly upState: WayState
  readonly downState: WayState
  readonly laterFaults: number
}

/** The reason that a failure stands for when nobody knows better. */
export function reasonOf(why: SluiceError): Reason {
  if (why.call === 'resolve') return 'error'
  if (why.system === 'ETIMEDOUT') return why.call === 'connect' ? 'connect-timeout' : 'keepalive'
  if (why.system === 'ECONNRESET' || why.system === 'EPIPE') return 'reset'
  if (why.blame === 'stopped') return 'stopped'
  if (why.blame === 'refused' || why.system === 'ECONNREFUSED') return 'refused'
  return 'error'
}
