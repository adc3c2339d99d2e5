import { type Bytes, type Decoded, done, latin1Bytes, latin1Text, need } from '../bytes/bytes.ts'
import { type Endpoint, formatEndpoint, parsePort } from '../core/endpoint.ts'
import { type ErrorMaker, errorArea, type SluiceError } from '../core/errors.ts'
import { readEndpoint } from './address.ts'

const httpTable = {
  'head-too-large': ['peer', 'the head of the HTTP message is over a limit'],
  'bare-lf': ['peer', 'a line ends in LF without CR'],
  'bare-cr': ['peer', 'CR stands without LF'],
  'control-character': ['peer', 'a control character stands in the head'],
  'bad-request-line': ['peer', 'the request line is not "method target version"'],
  'bad-status-line': ['peer', 'the status line is not "version status reason"'],
  'bad-method': ['peer', 'the method is not a token'],
  'bad-target': ['peer', 'the request target has a wrong form'],
  'bad-version': ['peer', 'the version is neither HTTP/1.0 nor HTTP/1.1'],
  'folded-field': ['peer', 'a field goes on in the next line'],
  'no-colon': ['peer', 'a field line has no colon'],
  'empty-name': ['peer', 'a field has no name'],
  'space-before-colon': ['peer', 'white space stands between field name and colon'],
  'bad-name': ['peer', 'a field name is not a token'],
  'bad-length': ['peer', 'Content-Length is not a decimal number'],
  'several-lengths': ['peer', 'there is more than one Content-Length'],
  'length-too-large': ['peer', 'Content-Length is over 2^53 - 1'],
  'length-and-coding': ['peer', 'Content-Length and Transfer-Encoding stand together'],
  'bad-coding': ['peer', 'Transfer-Encoding is not exactly chunked'],
  'old-coding': ['peer', 'Transfer-Encoding stands in a message of HTTP/1.0'],
  'no-host': ['peer', 'a request of HTTP/1.1 has no Host'],
  'several-hosts': ['peer', 'there is more than one Host'],
  'bad-host': ['peer', 'Host is not host:port'],
  'bad-chunk-size': ['peer', 'a chunk does not begin with its size in hexadecimal digits'],
  'chunk-too-large': ['peer', 'the size of a chunk is over 2^53 - 1 or over 16 digits'],
  'bad-chunk-end': ['peer', 'no CRLF stands after the bytes of a chunk'],
  'extension-too-large': ['peer', 'the extension of a chunk is over 1 KiB'],
  'trailer-too-large': ['peer', 'the trailer section is over 8 KiB'],
  unencodable: ['bug', 'this head has no form on the wire'],
  'not-authenticated': ['refused', 'user and password are wanted and were not given or are wrong'],
  'second-request': ['peer', 'more follows the request than this proxy drops'],
} as const
/** Every error of HTTP/1 formats, those of chunked bodies too. */
export const httpError: ErrorMaker<typeof httpTable> = errorArea('http', httpTable)

/**
 * Limits of a head: bytes with all line ends, field lines, and bytes of one line without its end.
 */
export const httpLimits = { headBytesMax: 65_536, fieldsMax: 128, lineBytesMax: 16_384 } as const

/** Name as it was sent; value without the white space around it, one character a byte. */
export type Field = readonly [name: string, value: string]
export type HttpVersion = '1.0' | '1.1'

export interface RequestHead {
  readonly method: string
  /** As it was sent: visible ASCII, 1 character at least. */
  readonly target: string
  readonly version: HttpVersion
  readonly fields: readonly Field[]
}

export interface ResponseHead {
  readonly version: HttpVersion
  /** 100 to 999. */
  readonly status: number
  readonly reason: string
  readonly fields: readonly Field[]
}

/** Where a body ends (RFC 9112 6.3). */
export type BodyKind =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' }

const lf = 0x0a
const cr = 0x0d
const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const targetPattern = /^[\x21-\x7e]+$/
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * Decodes `method SP target SP version CRLF (field CRLF)* CRLF` (RFC 9112 2 to 6), strictly: what
 * two readers could read in two ways is refused, never repaired. One empty line in front is skipped
 * (2.2). Throws the codes of area `http` up to `bad-host`; see the table for the meaning of each.
 * What `bodyKind` says holds for the head as it stands.
 */
export function decodeRequestHead(bytes: Bytes, seen: number): Decoded<RequestHead> {
  const start = bytes[0] === cr && bytes[1] === lf ? 2 : 0
  const end = headEnd(bytes, seen)
  if (end === 0) return need(1)
  const [first, ...rest] = readLines(bytes.subarray(start, Math.max(start, end - 4)))
  const words = first.split(' ')
  const [method, target, versionText] = words
  if (method === undefined || target === undefined || versionText === undefined) {
    throw httpError('bad-request-line')
  }
  if (words.length !== 3) throw httpError('bad-request-line')
  if (!tokenPattern.test(method)) throw httpError('bad-method')
  if (!targetPattern.test(target)) throw httpError('bad-target')
  const version = readVersion(versionText)
  const head: RequestHead = { method, target, version, fields: rest.map(readField) }
  checkHost(head)
  readFraming(head)
  return done(head, end)
}

/**
 * Decodes `version SP status SP [reason] CRLF (field CRLF)* CRLF` (RFC 9112 4) as strictly as
 * `decodeRequestHead`, but also without the space before an absent reason, which many servers leave
 * out. Throws the codes of area `http` up to `length-and-coding` and `old-coding`.
 */
export function decodeResponseHead(bytes: Bytes, seen: number): Decoded<ResponseHead> {
  const end = headEnd(bytes, seen)
  if (end === 0) return need(1)
  const [first, ...rest] = readLines(bytes.subarray(0, end - 4))
  const match = /^([^ ]+) ([1-9][0-9]{2})(?: (.*))?$/.exec(first)
  const [, versionText, status, reason = ''] = match ?? []
  if (versionText === undefined || status === undefined) throw httpError('bad-status-line')
  const version = readVersion(versionText)
  const fields = rest.map(readField)
  const head: ResponseHead = { version, status: Number(status), reason, fields }
  readFraming(head)
  return done(head, end)
}

/**
 * The index after the empty line, 0 while it is not there. Looks at each byte once, from `seen`.
 */
function headEnd(bytes: Bytes, seen: number): number {
  const stop = Math.min(bytes.length, httpLimits.headBytesMax)
  for (let i = seen; i < stop; i++) {
    const byte = bytes[i] ?? 0
    const before = bytes[i - 1]
    if (byte === lf) {
      if (before !== cr) throw httpError('bare-lf')
      if (bytes[i - 2] === lf) return i + 1
    } else if (before === cr) throw httpError('bare-cr')
    else if ((byte < 0x20 && byte !== 0x09 && byte !== cr) || byte === 0x7f) {
      throw httpError('control-character')
    }
  }
  if (bytes.length >= httpLimits.headBytesMax) throw httpError('head-too-large')
  return 0
}

/** The lines of a head whose line ends are known to be whole, the start line first. */
function readLines(bytes: Bytes): readonly [first: string, ...rest: readonly string[]] {
  const [first = '', ...rest] = latin1Text(bytes).split('\r\n')
  const longest = rest.reduce((most, line) => Math.max(most, line.length), first.length)
  if (longest > httpLimits.lineBytesMax || rest.length > httpLimits.fieldsMax) {
    throw httpError('head-too-large', { detail: { fields: rest.length, lineBytes: longest } })
  }
  return [first, ...rest]
}

function readField(line: string): Field {
  if (isBlank(line, 0)) throw httpError('folded-field')
  const colon = line.indexOf(':')
  if (colon < 0) throw httpError('no-colon')
  if (colon === 0) throw httpError('empty-name')
  if (isBlank(line, colon - 1)) throw httpError('space-before-colon')
  const name = line.slice(0, colon)
  if (!tokenPattern.test(name)) throw httpError('bad-name')
  // By hand: `trim` also takes bytes above 0x7f, and a pattern takes quadratic time.
  let start = colon + 1
  let end = line.length
  while (start < end && isBlank(line, start)) start += 1
  while (end > start && isBlank(line, end - 1)) end -= 1
  return [name, line.slice(start, end)]
}

function isBlank(line: string, at: number): boolean {
  return line[at] === ' ' || line[at] === '\t'
}

function readVersion(text: string): HttpVersion {
  if (text === 'HTTP/1.1') return '1.1'
  if (text === 'HTTP/1.0') return '1.0'
  throw httpError('bad-version')
}

function checkHost(head: RequestHead): void {
  const [host, second] = fieldAll(head, 'host')
  if (second !== undefined) throw httpError('several-hosts')
  if (host === undefined) {
    if (head.version === '1.1') throw httpError('no-host')
    return
  }
  // uri-host [":" port] of RFC 9110 7.2, without the comma that would make it a list.
  if (!/^(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(?::[0-9]*)?$/.test(host)) {
    throw httpError('bad-host')
  }
}

/** What the fields say about the end of the body, if anything; throws where they contradict. */
function readFraming(head: RequestHead | ResponseHead): BodyKind | null {
  const codings = fieldAll(head, 'transfer-encoding')
  const lengths = fieldAll(head, 'content-length')
  if (codings.length > 0) {
    if (lengths.length > 0) throw httpError('length-and-coding')
    if (head.version === '1.0') throw httpError('old-coding')
    if (codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked') throw httpError('bad-coding')
    return { kind: 'chunked' }
  }
  const [length] = lengths
  if (length === undefined) return null
  // Equal ones too: RFC 9110 8.6 allows repairing them, and the next hop may repair otherwise.
  if (lengths.length > 1 || length.includes(',')) throw httpError('several-lengths')
  if (!/^[0-9]+$/.test(length)) throw httpError('bad-length')
  const bytes = Number(length)
  if (!Number.isSafeInteger(bytes)) throw httpError('length-too-large')
  return { kind: 'length', bytes }
}

/**
 * Where the body of a request ends (RFC 9112 6.3); after CONNECT there is none, what follows
 * belongs to the tunnel (RFC 9110 9.3.6). Throws the framing codes of `decodeRequestHead` for a
 * head that did not come from there.
 */
export function bodyKind(head: RequestHead): BodyKind {
  const framing = readFraming(head)
  return framing === null || head.method === 'CONNECT' ? { kind: 'none' } : framing
}

/**
 * Where the body of the response to a request with `method` ends (RFC 9112 6.3). None after HEAD,
 * 1xx, 204, 304 and a 2xx to CONNECT, whatever the fields say. Throws as `bodyKind` does.
 */
export function responseBodyKind(head: ResponseHead, method: string): BodyKind {
  const framing = readFraming(head)
  const { status } = head
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' }
  if (method === 'CONNECT' && status < 300) return { kind: 'none' }
  return framing ?? { kind: 'until-close' }
}

/** The value of the first field called `name`, in any case; `null` without one. */
export function field(head: { readonly fields: readonly Field[] }, name: string): string | null {
  return fieldAll(head, name)[0] ?? null
}

/** The values of all fields called `name`, in any case, in their order. */
export function fieldAll(
  head: { readonly fields: readonly Field[] },
  name: string,
): readonly string[] {
  const wanted = name.toLowerCase()
  return head.fields.filter(([each]) => each.toLowerCase() === wanted).map(([, value]) => value)
}

/**
 * The reverse of `decodeRequestHead`. Throws `http.unencodable` for a character that has no place
 * where it stands, so nobody's text can make a line of its own; Host, framing and limits are the
 * caller's.
 */
export function encodeRequestHead(head: RequestHead): Bytes {
  if (!tokenPattern.test(head.method) || !targetPattern.test(head.target)) {
    throw httpError('unencodable')
  }
  return encodeLines(`${head.method} ${head.target} HTTP/${head.version}`, head.fields)
}

/** The reverse of `decodeResponseHead`. Throws `http.unencodable` as `encodeRequestHead` does. */
export function encodeResponseHead(head: ResponseHead): Bytes {
  const { version, status, reason } = head
  if (!Number.isInteger(status) || status < 100 || status > 999 || !valuePattern.test(reason)) {
    throw httpError('unencodable')
  }
  return encodeLines(`HTTP/${version} ${String(status)} ${reason}`, head.fields)
}

function encodeLines(first: string, fields: readonly Field[]): Bytes {
  const lines = fields.map(([name, value]) => {
    const isOuterBlank = isBlank(value, 0) || isBlank(value, value.length - 1)
    if (!tokenPattern.test(name) || !valuePattern.test(value) || isOuterBlank) {
      throw httpError('unencodable')
    }
    return `${name}: ${value}\r\n`
  })
  return latin1Bytes(`${first}\r\n${lines.join('')}\r\n`)
}

/**
 * The endpoint of a CONNECT request, `host:port` with a port from 1 to 65,535 (RFC 9112 3.2.3, RFC
 * 9110 9.3.6). Else throws `http.bad-target`; its detail says why, never what was asked for.
 */
export function connectTarget(target: string): Endpoint {
  return endpointOf(target)
}

/** What a request to a proxy asks to be forwarded. */
export interface ForwardTarget {
  readonly target: Endpoint
  /** The target to send on: origin-form, or `*` for OPTIONS on the whole server. */
  readonly path: string
  /** The Host to send on; it replaces the one that came (RFC 9112 3.2.2). */
  readonly authority: string
}

/**
 * Takes apart the absolute-form `http://host[:port][/path][?query]` (RFC 9112 3.2.2), port 80
 * unless it says another. Throws `http.bad-target` for another scheme, user information, a fragment
 * or a wrong host or port; its detail says why, never what was asked for.
 */
export function absoluteTarget(target: string, method: string): ForwardTarget {
  if (!targetPattern.test(target)) throw badTarget('it has a character that no URI has')
  if (!/^http:\/\//i.test(target)) throw badTarget('it does not begin with http://')
  if (target.includes('#')) throw badTarget('it has a fragment')
  const rest = target.slice('http://'.length)
  const slash = rest.search(/[/?]/)
  const authority = slash < 0 ? rest : rest.slice(0, slash)
  const tail = slash < 0 ? '' : rest.slice(slash)
  // RFC 3986 3.2.3: an empty port is as good as none.
  const end = endpointOf(authority.replace(/:$/, ''), 80)
  const text = formatEndpoint(end)
  return {
    target: end,
    path: tail === '' && method === 'OPTIONS' ? '*' : tail.startsWith('/') ? tail : `/${tail}`,
    authority: end.port === 80 ? text.slice(0, text.lastIndexOf(':')) : text,
  }
}

function endpointOf(authority: string, portDefault?: number): Endpoint {
  if (authority.includes('@')) throw badTarget('it has user information')
  const end = readEndpoint(authority, portDefault === undefined ? null : parsePort(portDefault))
  if (typeof end === 'string') throw badTarget(end)
  if (end.port === 0) throw badTarget('port 0 is no port to connect to')
  return end
}

function badTarget(why: string): SluiceError {
  return httpError('bad-target', { detail: { why } })
}

/**
 * The user and password of `Basic base64(user:password)` (RFC 7617 2), as UTF-8. `null` for another
 * scheme, base64 that is not canonical with its padding (RFC 4648 3.5), text that is not UTF-8, a
 * missing colon, or control characters.
 */
export function basicCredentials(
  value: string,
): { readonly user: string; readonly pass: string } | null {
  const encoded = /^basic +([0-9A-Za-z+/]+={0,2})$/i.exec(value)?.[1]
  if (encoded === undefined) return null
  const text = utf8Of(encoded)
  const colon = text?.indexOf(':') ?? -1
  if (text === null || colon < 0 || /\p{Cc}/u.test(text)) return null
  return { user: text.slice(0, colon), pass: text.slice(colon + 1) }
}

function utf8Of(base64: string): string | null {
  try {
    const raw = atob(base64)
    if (btoa(raw) !== base64) return null
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(latin1Bytes(raw))
  } catch {
    return null
  }
}
