import { type Call, type ErrorMaker, errorArea, SluiceError } from '../core/errors.ts'

const netTable = {
  reset: ['network', 'the connection was reset'],
  refused: ['network', 'nobody listens there'],
  timeout: ['network', 'the peer does not answer'],
  unreachable: ['network', 'there is no way to that address'],
  'no-descriptors': ['refused', 'no file descriptors are left'],
  'address-in-use': ['config', 'the address is in use'],
  'not-permitted': ['config', 'the system does not permit it'],
  'address-unavailable': ['config', 'that address is not one of this machine'],
  'connect-timeout': ['network', 'the dial took too long'],
  'no-address': ['network', 'the name has no address'],
  resolve: ['network', 'the name could not be resolved'],
  'bad-path': ['config', 'the socket file cannot be used'],
  failed: ['network', 'the system reports a failure'],
} as const
export const netError: ErrorMaker<typeof netTable> = errorArea('net', netTable)

const names: Readonly<Record<string, keyof typeof netTable>> = {
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ECONNABORTED: 'reset',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EMFILE: 'no-descriptors',
  ENFILE: 'no-descriptors',
  EADDRINUSE: 'address-in-use',
  EACCES: 'not-permitted',
  EPERM: 'not-permitted',
  EADDRNOTAVAIL: 'address-unavailable',
  ENOENT: 'bad-path',
}

/**
 * Turns what Node threw for `call` into one of ours, with the system's own name for it kept, and
 * `where` it happened if that says something to an operator.
 */
export function systemError(thrown: unknown, call: Call, where?: string): SluiceError {
  if (thrown instanceof SluiceError) return thrown
  const system = systemName(thrown)
  const what = names[system] ?? 'failed'
  return netError(what, {
    cause: thrown,
    call: what === 'no-descriptors' ? 'socket' : call,
    system,
    detail: {
      ...(where === undefined ? {} : { address: where }),
      ...(what === 'failed' ? { system } : {}),
    },
  })
}

function systemName(thrown: unknown): string {
  if (typeof thrown === 'object' && thrown !== null && 'code' in thrown) return String(thrown.code)
  return 'UNKNOWN'
}
