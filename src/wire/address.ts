import ipaddr from 'ipaddr.js'
import { type Bytes, type Decoded, done, latin1Bytes, latin1Text, need } from '../bytes/bytes.ts'
import { Builder, Cursor } from '../bytes/cursor.ts'
import { type Endpoint, type Port, parsePort } from '../core/endpoint.ts'
import { type ErrorMaker, errorArea } from '../core/errors.ts'

const addressTable = {
  'bad-domain': ['peer', 'this is neither a domain name nor an IP address'],
  'bad-type': ['peer', 'this type of address does not exist'],
  'bad-endpoint': ['config', 'this is not host:port'],
  unencodable: ['bug', 'this host has no form on the wire'],
} as const
const addressError: ErrorMaker<typeof addressTable> = errorArea('address', addressTable)

/** Most bytes of a domain name (RFC 1035 2.3.4; also what the one length byte of SOCKS can say). */
export const domainBytesMax = 255

/** The address types of RFC 1928 section 5. */
const AddressType = { ipv4: 1, domain: 3, ipv6: 4 } as const

/**
 * 4 or 6 when `host` is an IP address, else 0. IPv4 has four decimal parts without leading zeros
 * (RFC 6943 3.1.1 "strict"); IPv6 is any text form of RFC 4291 2.2, without brackets, with or
 * without a zone (RFC 4007 11).
 */
export function isIp(host: string): 0 | 4 | 6 {
  const bytes = ipBytes(host)
  if (bytes === null) return 0
  return bytes.length === 4 ? 4 : 6
}

/** The 4 or 16 bytes of an IP address in text; `null` for anything else. A zone is left out. */
export function ipBytes(text: string): Bytes | null {
  if (!text.includes(':')) {
    if (!ipaddr.IPv4.isValidFourPartDecimal(text)) return null
    return new Uint8Array(ipaddr.IPv4.parse(text).toByteArray())
  }
  const plain = hexGroups(splitZone(text).address)
  // The library has zones and dotted parts of its own kind; it is shown hex groups only.
  if (plain === null || !/^[0-9a-f:]{2,39}$/i.test(plain)) return null
  if (!ipaddr.IPv6.isValid(plain)) return null
  return new Uint8Array(ipaddr.IPv6.parse(plain).toByteArray())
}

/** `address%zone` in two; a text whose zone is malformed stays whole, and so is no address. */
function splitZone(text: string): { address: string; zone: string } {
  const match = /^([^%]*)(%[0-9A-Za-z._~-]{1,32})$/.exec(text)
  return { address: match?.[1] ?? text, zone: match?.[2] ?? '' }
}

/** Turns a dotted tail (`::ffff:1.2.3.4`) into two hex groups. */
function hexGroups(text: string): string | null {
  if (!text.includes('.')) return text
  const start = text.lastIndexOf(':') + 1
  const tail = text.slice(start)
  if (!ipaddr.IPv4.isValidFourPartDecimal(tail)) return null
  const cursor = new Cursor(new Uint8Array(ipaddr.IPv4.parse(tail).toByteArray()))
  return `${text.slice(0, start)}${cursor.u16().toString(16)}:${cursor.u16().toString(16)}`
}

/**
 * Canonical text of the 4 or 16 bytes of an IP address; IPv6 as in RFC 5952, without brackets.
 * Any other number of bytes throws `address.unencodable`.
 */
export function ipText(bytes: Bytes): string {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw addressError('unencodable', { detail: { bytes: bytes.length } })
  }
  return ipaddr.fromByteArray([...bytes]).toString()
}

/**
 * As `ipText`, but an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) becomes the IPv4 address it is,
 * so that a rule about 127.0.0.0/8 also holds for ::ffff:127.0.0.1.
 */
export function hostOfIp(bytes: Bytes): string {
  return ipText(isMapped(bytes) ? bytes.subarray(12) : bytes)
}

function isMapped(bytes: Bytes): boolean {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false
  return bytes.subarray(0, 10).every(byte => byte === 0)
}

/**
 * Canonical text of an IP address in any text form, IPv4-mapped ones as IPv4; a zone is kept.
 * `null` for anything else.
 */
export function canonicalIp(text: string): string | null {
  const bytes = ipBytes(text)
  return bytes === null ? null : hostOfIp(bytes) + splitZone(text).zone
}

/** The 16 bytes of an IPv6 address; those of an IPv4 address as IPv4-mapped IPv6. */
export function asIpv6(bytes: Bytes): Bytes {
  if (bytes.length === 16) return bytes
  const whole = new Uint8Array(16)
  whole.fill(0xff, 10, 12)
  whole.set(bytes, 12)
  return whole
}

/**
 * The host a peer names: an IP address in canonical text (IPv4-mapped as IPv4), or a domain name in
 * lower case without its trailing dot. Throws `address.bad-domain` for anything but 1 to 255 ASCII
 * letters, digits, `-`, `_` and `.`, for empty labels, for a zone (a peer must not choose among our
 * interfaces) and for a name whose last label is a number: resolvers read `127.1` and `0x7f.1` as
 * addresses, which would walk around every rule about addresses. So `/` and `@`, which would make
 * an `Endpoint` a UNIX socket, never come from a peer. Names in other scripts come as A-labels
 * (RFC 5890 2.3.2.1).
 */
export function hostOf(text: string): string {
  const read = readHost(text)
  if (typeof read === 'string') throw addressError('bad-domain', { detail: { why: read } })
  return read.host
}

/** What `hostOf` gives, or in a few words what is wrong. */
function readHost(text: string): { readonly host: string } | string {
  const bytes = ipBytes(text)
  if (bytes !== null) return text.includes('%') ? 'it has a zone' : { host: hostOfIp(bytes) }
  if (text.length === 0) return 'it is empty'
  if (text.length > domainBytesMax) return `it is longer than ${String(domainBytesMax)} bytes`
  if (/[^0-9A-Za-z._-]/.test(text)) return 'it has a character that no domain name has'
  const host = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase()
  const labels = host.split('.')
  if (labels.includes('')) return 'it has an empty label'
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return 'it ends in a number'
  return { host }
}

/**
 * Reads `host:port` or `[v6]:port`; without a port `portDefault` holds, if there is one. Answers in
 * a few words what is wrong instead of throwing, for callers whose own error says more. A zone is
 * taken only with `zones`. UNIX sockets are not for here.
 */
export function readEndpoint(
  text: string,
  portDefault: Port | null = null,
  zones = false,
): Endpoint | string {
  const parts = splitPort(text)
  if (typeof parts === 'string') return parts
  const [hostPart, portPart] = parts
  const zoned = zones && hostPart.includes('%') ? canonicalIp(hostPart) : null
  const read = zoned === null ? readHost(hostPart) : { host: zoned }
  if (typeof read === 'string') return `the host is wrong: ${read}`
  if (portPart === null) {
    if (portDefault === null) return 'the port is missing'
    return { host: read.host, port: portDefault }
  }
  if (!/^[0-9]{1,5}$/.test(portPart) || Number(portPart) > 65_535) {
    return 'the port is not a number from 0 to 65535'
  }
  return { host: read.host, port: parsePort(Number(portPart)) }
}

function splitPort(text: string): readonly [host: string, port: string | null] | string {
  if (text.startsWith('[')) {
    const close = text.indexOf(']')
    if (close < 0) return 'the bracket of the IPv6 address is not closed'
    const host = text.slice(1, close)
    if (isIp(host) !== 6) return 'there is no IPv6 address between the brackets'
    const rest = text.slice(close + 1)
    if (rest === '') return [host, null]
    return rest.startsWith(':') ? [host, rest.slice(1)] : 'after the bracket comes :port'
  }
  const colon = text.indexOf(':')
  if (colon < 0) return [text, null]
  if (colon !== text.lastIndexOf(':')) return 'an IPv6 address needs brackets, [address]:port'
  return [text.slice(0, colon), text.slice(colon + 1)]
}

/**
 * Takes `host:port` or `[v6]:port` as written by the owner of a configuration; without a port
 * `portDefault` holds, if there is one. A zone is kept. Else throws `address.bad-endpoint` with the
 * text and what is wrong with it.
 */
export function parseEndpoint(text: string, portDefault: Port | null = null): Endpoint {
  const read = readEndpoint(text, portDefault, true)
  if (typeof read !== 'string') return read
  throw addressError('bad-endpoint', { detail: { text: text.slice(0, 300), why: read } })
}

/**
 * `[type u8][address][port u16]` of RFC 1928 section 5: type 1 with 4 bytes, 4 with 16, 3 with
 * `[size u8][domain]`. IPv4-mapped IPv6 comes out as IPv4, a domain as from `hostOf`. Throws
 * `address.bad-type`, and `address.bad-domain` also for size 0.
 */
export function decodeSocksAddress(bytes: Bytes): Decoded<Endpoint> {
  const [type, sizeByte] = bytes
  if (type === undefined) return need(1)
  if (type === AddressType.domain) {
    if (sizeByte === undefined) return need(1)
    if (sizeByte === 0) throw addressError('bad-domain', { detail: { why: 'it is empty' } })
    const size = 2 + sizeByte + 2
    if (bytes.length < size) return need(size - bytes.length)
    const cursor = new Cursor(bytes.subarray(2))
    const host = hostOf(latin1Text(cursor.take(sizeByte)))
    return done({ host, port: parsePort(cursor.u16()) }, size)
  }
  if (type !== AddressType.ipv4 && type !== AddressType.ipv6) {
    throw addressError('bad-type', { detail: { type } })
  }
  const ipSize = type === AddressType.ipv4 ? 4 : 16
  const size = 1 + ipSize + 2
  if (bytes.length < size) return need(size - bytes.length)
  const cursor = new Cursor(bytes.subarray(1))
  const host = hostOfIp(cursor.take(ipSize))
  return done({ host, port: parsePort(cursor.u16()) }, size)
}

/**
 * `[type u8][address][port u16]`, the reverse of `decodeSocksAddress`; a zone is left out. Throws
 * `address.unencodable` for a UNIX socket and for any host that breaks the contract of `Endpoint`.
 */
export function encodeSocksAddress(end: Endpoint): Bytes {
  const builder = new Builder()
  const ip = ipBytes(end.host)
  if (ip !== null) {
    builder.u8(ip.length === 4 ? AddressType.ipv4 : AddressType.ipv6).put(ip)
  } else {
    const domain = domainBytes(end.host)
    builder.u8(AddressType.domain).u8(domain.length).put(domain)
  }
  return builder.u16(end.port).bytes()
}

/**
 * The bytes of a domain name as formats carry it, 1 to 255, without a length. Throws
 * `address.unencodable` for a UNIX socket, an IP address, and any host that breaks the contract of
 * `Endpoint`.
 */
export function domainBytes(host: string): Bytes {
  const why = isIp(host) === 0 ? readHost(host) : 'it is an IP address'
  if (typeof why === 'string') throw addressError('unencodable', { detail: { why } })
  return latin1Bytes(host)
}
