/** Who is to blame; decisions read this and `code`, never the message. */
export type Blame =
  /** The peer broke its format. */
  | 'peer'
  /** The network went away. */
  | 'network'
  /** The configuration is wrong. */
  | 'config'
  /** We refuse by policy or limit. */
  | 'refused'
  /** Somebody asked us to stop: a drain, a kill, the owner's own end. */
  | 'stopped'
  /** A broken invariant of our own. */
  | 'bug'

/** `area.what`, stable across releases; each area lists its own in one table (`errorArea`). */
export type ErrorCode = `${string}.${string}`

/** The system call that failed first, for the close record. */
export type Call =
  | 'read'
  | 'write'
  | 'connect'
  | 'shutdown'
  | 'socket'
  | 'bind'
  | 'accept'
  | 'resolve'

export interface ErrorContext {
  /** Numbers and protocol names that explain; never secrets or user data. */
  readonly detail?: Readonly<Record<string, string | number | boolean>>
  readonly cause?: unknown
  readonly call?: Call
  /** The operating system's name for it, `ECONNRESET` and the like. */
  readonly system?: string
}

/** The one error class. `code` says what, `blame` says whose fault, `call` and `system` say where. */
export class SluiceError extends Error {
  override readonly name: string = 'SluiceError'
  readonly code: ErrorCode
  readonly blame: Blame
  readonly detail: Readonly<Record<string, string | number | boolean>>
  readonly call: Call | null
  readonly system: string | null

  constructor(code: ErrorCode, blame: Blame, text: string, context: ErrorContext = {}) {
    const detail = describe(context.detail ?? {})
    super(detail === '' ? text : `${text} (${detail})`, {
      cause: context.cause,
    })
    this.code = code
    this.blame = blame
    this.detail = context.detail ?? {}
    this.call = context.call ?? null
    this.system = context.system ?? null
  }
}

function describe(detail: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(detail)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ')
}

/** What each code of an area means: whose fault it is and one plain sentence without a full stop. */
export type ErrorTable = Readonly<Record<string, readonly [blame: Blame, text: string]>>
export type ErrorMaker<T extends ErrorTable> = (
  what: keyof T & string,
  context?: ErrorContext,
) => SluiceError

/**
 * Declares the closed list of errors of one area and returns the function that makes them:
 * `errorArea('socks', { 'bad-version': ['peer', 'this is not SOCKS'] })('bad-version')` has the
 * code `socks.bad-version`. Blame and text stand once, in the table.
 */
export function errorArea<const T extends ErrorTable>(area: string, table: T): ErrorMaker<T> {
  return (what, context) => {
    const row = table[what]
    if (row === undefined) return new SluiceError('core.bug', 'bug', `no error ${area}.${what}`)
    return new SluiceError(`${area}.${what}`, row[0], row[1], context)
  }
}

const coreTable = {
  bug: ['bug', 'an invariant of Sluice does not hold'],
  unknown: ['bug', 'an error nobody gave a code'],
  spent: ['bug', 'this half was handed over and is used again'],
  busy: ['bug', 'a second call while the first one is pending'],
  limit: ['refused', 'a limit was reached'],
} as const
export const coreError: ErrorMaker<typeof coreTable> = errorArea('core', coreTable)

/** Throws `core.bug` unless `holds`. Such an error ends the flow it happens in, never the process. */
export function assert(holds: boolean, text: string): asserts holds {
  if (!holds) throw new SluiceError('core.bug', 'bug', text)
}

/** Gives back a `SluiceError` as it is; wraps anything else as `core.unknown` with its cause. */
export function asError(thrown: unknown): SluiceError {
  if (thrown instanceof SluiceError) return thrown
  return coreError('unknown', {
    cause: thrown,
    detail: { what: thrown instanceof Error ? thrown.message : typeof thrown },
  })
}
