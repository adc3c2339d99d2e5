import * as v from 'valibot'
import { type Bytes, concat, utf8Bytes } from '../../bytes/bytes.ts'
import { notYet, strictObject, withoutEffect } from '../../config/schema.ts'
import { type Account, accountList, Accounts } from '../../contract/accounts.ts'
import type { Accepted, FlowRequest } from '../../contract/flow.ts'
import {
  type AcceptContext,
  defineInbound,
  type Inbound,
  type InboundHandler,
} from '../../contract/inbound.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { asError, type SluiceError } from '../../core/errors.ts'
import { prefixed, readHead } from '../../core/head.ts'
import type { Halves, Link } from '../../core/link.ts'
import { refuseWith, say } from '../../core/polite.ts'
import {
  absoluteTarget,
  basicCredentials,
  bodyKind,
  connectTarget,
  decodeRequestHead,
  encodeRequestHead,
  encodeResponseHead,
  field,
  type Field,
  httpError,
  httpLimits,
  type RequestHead,
} from '../../wire/http-head.ts'
import { forwardedHead, RequestBody, ResponseHeads } from './forward.ts'

export interface HttpOptions {
  readonly accounts: readonly Account[]
}

/** An HTTP proxy: CONNECT (RFC 9110 section 9.3.6) and absolute-form requests (RFC 9112 section 3.2.2). */
export const httpInbound: Inbound = defineInbound<HttpOptions>({
  type: 'http',
  options: strictObject({
    accounts: v.optional(accountList(), []),
    allowTransparent: v.optional(
      v.pipe(
        v.boolean(),
        v.check(isOn => !isOn, 'is not supported by this version of Sluice'),
      ),
    ),
    timeout: notYet('use "policy" for deadlines'),
    userLevel: withoutEffect('has no effect: there is one policy level'),
  }),
  create: options => new HttpHandler(options),
})

class HttpHandler implements InboundHandler {
  readonly networks = ['tcp'] as const
  readonly #accounts: Accounts

  constructor(options: HttpOptions) {
    this.#accounts = new Accounts(options.accounts)
  }

  async accept(link: Link, context: AcceptContext): Promise<Accepted> {
    const halves = link.takeApart()
    try {
      const head = await readHead(halves.source, decodeRequestHead, httpLimits.headBytesMax)
      halves.source = head.source
      const user = this.#userOf(head.value)
      return head.value.method === 'CONNECT'
        ? acceptConnect(halves, head.value, user)
        : acceptForward(halves, head.value, user)
    } catch (thrown) {
      const why = asError(thrown)
      const answer = answerToHead(why)
      if (answer === null) throw why
      return context.refuse(halves, answer, why)
    }
  }

  #userOf(head: RequestHead): string | null {
    if (this.#accounts.isEmpty) return null
    const given = basicCredentials(field(head, 'proxy-authorization') ?? '')
    if (given === null || !this.#accounts.isRight(given.user, given.pass)) {
      throw httpError('not-authenticated')
    }
    return given.user
  }
}

function acceptConnect(halves: Halves, head: RequestHead, user: string | null): Accepted {
  return {
    request: requestOf(connectTarget(head.target), user, halves),
    link: halves.join(),
    packets: null,
    open: given => say(given, utf8Bytes('HTTP/1.1 200 Connection established\r\n\r\n')),
    refuse,
  }
}

function acceptForward(halves: Halves, head: RequestHead, user: string | null): Accepted {
  const to = absoluteTarget(head.target, head.method)
  const forwarded = encodeRequestHead(forwardedHead(head, to.path, to.authority))
  halves.source = prefixed(forwarded, new RequestBody(halves.source, bodyKind(head)))
  return {
    request: requestOf(to.target, user, halves),
    link: halves.join(),
    packets: null,
    open: given => {
      const opened = given.takeApart()
      opened.sink = new ResponseHeads(opened.sink)
      return Promise.resolve(opened.join())
    },
    refuse,
  }
}

function requestOf(target: Endpoint, user: string | null, halves: Halves): FlowRequest {
  return { network: 'tcp', target, user, source: halves.path.remote }
}

async function refuse(given: Link, why: SluiceError): Promise<void> {
  await refuseWith(given.takeApart(), answerToDial(why), why)
}

/** What a client is told about a request that cannot be read or is not allowed; null: nothing. */
function answerToHead(why: SluiceError): Bytes | null {
  if (why.code === 'http.not-authenticated') {
    return answer(407, 'Proxy Authentication Required', 'This proxy wants user and password.', [
      ['Proxy-Authenticate', 'Basic realm="proxy"'],
    ])
  }
  if (why.code === 'http.head-too-large' || why.code === 'head.too-large') {
    return answer(431, 'Request Header Fields Too Large', why.message)
  }
  const isFormat = why.code.startsWith('http.') || why.code.startsWith('address.')
  return isFormat ? answer(400, 'Bad Request', why.message) : null
}

/** What a client is told about a dial that failed (RFC 9110 section 15.6). */
function answerToDial(why: SluiceError): Bytes {
  if (why.system === 'ETIMEDOUT' || why.code.endsWith('-timeout')) {
    return answer(504, 'Gateway Timeout', why.message)
  }
  if (why.code === 'net.no-descriptors') return answer(503, 'Service Unavailable', why.message)
  if (why.blame === 'refused') return answer(403, 'Forbidden', why.message)
  return answer(502, 'Bad Gateway', why.message)
}

function answer(status: number, reason: string, text: string, more: readonly Field[] = []): Bytes {
  const body = utf8Bytes(`${text}\n`)
  const head = encodeResponseHead({
    version: '1.1',
    status,
    reason,
    fields: [
      ...more,
      ['Content-Type', 'text/plain; charset=utf-8'],
      ['Content-Length', String(body.length)],
      ['Connection', 'close'],
    ],
  })
  return concat([head, body])
}
