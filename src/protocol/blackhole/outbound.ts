import * as v from 'valibot'
import { type Bytes, utf8Bytes } from '../../bytes/bytes.ts'
import { oneOf, strictObject } from '../../config/schema.ts'
import { defineOutbound, type Outbound } from '../../contract/outbound.ts'
import { parsePort } from '../../core/endpoint.ts'
import { errorArea, type ErrorMaker } from '../../core/errors.ts'
import { Link, type Path } from '../../core/link.ts'
import type { Scope } from '../../core/scope.ts'

const table = {
  blocked: ['refused', 'the configuration sends this to a blackhole'],
} as const
const blackholeError: ErrorMaker<typeof table> = errorArea('blackhole', table)

/** Nothing gets through: a flow is refused, or answered with HTTP 403 if the configuration says so. */
export const blackholeOutbound: Outbound = defineOutbound<{ readonly response: 'none' | 'http' }>({
  type: 'blackhole',
  aliases: ['block'],
  options: v.pipe(
    strictObject({
      response: v.optional(strictObject({ type: v.optional(oneOf(['none', 'http']), 'none') })),
    }),
    v.transform(given => ({ response: given.response?.type ?? 'none' })),
  ),
  create: options => ({
    link: (_request, scope) =>
      options.response === 'http'
        ? Promise.resolve(answering(scope, forbidden))
        : Promise.reject(blackholeError('blocked')),
    packets: () => Promise.reject(blackholeError('blocked')),
  }),
})

const forbidden = utf8Bytes(
  'HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
)

const nowhere: Path = {
  remote: { host: '0.0.0.0', port: parsePort(0) },
  local: { host: '0.0.0.0', port: parsePort(0) },
}

/** A link whose far end says `answer` and ends, and takes whatever it is sent. */
function answering(owner: Scope, answer: Bytes): Link {
  const scope = owner.child('leg', 'blackhole')
  let left: Bytes | null = answer
  return new Link(
    { path: nowhere, scope, onGone: () => undefined },
    {
      read: () => {
        const bytes = left
        left = null
        return bytes
      },
      cancel: () => undefined,
    },
    {
      write: () => undefined,
      flush: () => undefined,
      closeWrite: () => undefined,
      ends: 'half',
      resets: 'closes',
      reset: why => {
        void scope.end({ kind: 'failed', why })
      },
      waitingBytes: 0,
    },
  )
}
