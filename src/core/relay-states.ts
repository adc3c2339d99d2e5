/**
 * The life of one direction of a relay, as data: the code runs on this table, the documentation draws
 * it, and the simulation counts which of its rows it has seen. A pair that is not in it is a bug.
 */
export type WayState =
  /** Bytes go from source to sink. */
  | 'open'
  /** The source's link has failed on its other half: what it sent before is still delivered. */
  | 'draining'
  /** The source has ended; the sink cannot say so alone, so the end waits for the other direction. */
  | 'holding'
  /** The source has ended and everything was written; the end is on its way out. */
  | 'ending'
  /** The end has left. Over. */
  | 'ended'
  /** Something failed; the sink is reset, never ended. Over. */
  | 'failed'

export type WayEvent =
  /** The source gave its true end. */
  | 'end'
  /** As `end`, toward a sink whose end would close both halves, or says nothing. */
  | 'end-held'
  /** The other direction is over, or the wait for it is: the held end goes out. */
  | 'release'
  /** The end has left for the kernel. */
  | 'end-sent'
  /** A read failed. */
  | 'read-fault'
  /** A write or the end could not be sent. */
  | 'write-fault'
  /** The link that this direction reads from has failed on its writing half, or while nobody looked. */
  | 'peer-fault'
  /** A timer, a kill, or the failure of the other direction. */
  | 'stop'

export const wayStates: readonly WayState[] = [
  'open',
  'draining',
  'holding',
  'ending',
  'ended',
  'failed',
]
export const wayEvents: readonly WayEvent[] = [
  'end',
  'end-held',
  'release',
  'end-sent',
  'read-fault',
  'write-fault',
  'peer-fault',
  'stop',
]

export const wayTable: Readonly<Record<WayState, Readonly<Partial<Record<WayEvent, WayState>>>>> = {
  open: {
    end: 'ending',
    'end-held': 'holding',
    'read-fault': 'failed',
    'write-fault': 'failed',
    'peer-fault': 'draining',
    stop: 'failed',
  },
  draining: {
    // After its link has failed an end is not believed: the kernel tells a reset only once.
    end: 'failed',
    'read-fault': 'failed',
    'write-fault': 'failed',
    stop: 'failed',
  },
  holding: { release: 'ending', 'write-fault': 'failed', stop: 'failed' },
  ending: { 'end-sent': 'ended', 'write-fault': 'failed', stop: 'failed' },
  ended: {},
  failed: {},
}

/** The state after `event`, or null if the pair is illegal. */
export function afterEvent(state: WayState, event: WayEvent): WayState | null {
  return wayTable[state][event] ?? null
}

export function isOver(state: WayState): boolean {
  return state === 'ended' || state === 'failed'
}

/** Whether the source has given its true end. */
export function hasEnded(state: WayState): boolean {
  return state === 'holding' || state === 'ending' || state === 'ended'
}
