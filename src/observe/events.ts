import type { Endpoint } from '../core/endpoint.ts'
import type { SluiceError } from '../core/errors.ts'
import type { RelayRecord } from '../core/flow-record.ts'

/** Everything known about a flow when it has ended and nothing of it is left. */
export interface FlowRecord extends RelayRecord {
  readonly id: number
  readonly inbound: string
  readonly source: Endpoint
  readonly user: string | null
  readonly network: 'tcp' | 'udp'
  /** Null: the client never said, or each datagram says it for itself. */
  readonly target: Endpoint | null
  /** Null: it did not come that far. */
  readonly outbound: string | null
  /** How far it came before it ended. */
  readonly stage: 'accepting' | 'dialing' | 'opening' | 'relaying' | 'over'
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly durationMs: number
}

/** The one stream of what happens in an engine; sinks print, count and show it. */
export type EngineEvent =
  | {
      readonly kind: 'listening'
      readonly inbound: string
      readonly type: string
      readonly local: Endpoint
      readonly networks: readonly string[]
    }
  | { readonly kind: 'flow-ended'; readonly record: FlowRecord }
  | { readonly kind: 'fault'; readonly where: string; readonly why: SluiceError }
  | { readonly kind: 'draining'; readonly flows: number; readonly graceMs: number }
  | {
      readonly kind: 'stopped'
      readonly flows: number
      readonly durationMs: number
      /** Ledger rows that are left: 0, or a bug. */
      readonly left: number
    }

export type EventSink = (event: EngineEvent) => void
