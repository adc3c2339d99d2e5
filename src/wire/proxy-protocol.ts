import {
  type Bytes,
  copyOf,
  type Decoded,
  type Decoder,
  done,
  latin1Bytes,
  latin1Text,
  need,
  utf8Bytes,
} from '../bytes/bytes.ts'
import { Builder, Cursor } from '../bytes/cursor.ts'
import { type Endpoint, type Port, parsePort } from '../core/endpoint.ts'
import { type ErrorMaker, errorArea } from '../core/errors.ts'
import { asIpv6, hostOfIp, ipBytes, ipText, isIp } from './address.ts'

const proxyTable = {
  absent: ['peer', 'there is no PROXY header where one must stand'],
  'bad-line': ['peer', 'the PROXY line is malformed'],
  'line-too-long': ['peer', 'the PROXY line has no CRLF within 107 bytes'],
  'bad-version': ['peer', 'the binary PROXY header is not of version 2'],
  'bad-command': ['peer', 'the command is neither LOCAL nor PROXY'],
  'bad-family': ['peer', 'the address family or transport is unknown'],
  'bad-address': ['peer', 'the address block is malformed'],
  'bad-tlv': ['peer', 'an additional value is malformed'],
  'bad-checksum': ['peer', 'the checksum is wrong'],
  unencodable: ['bug', 'this header has no form on the wire'],
} as const
const proxyError: ErrorMaker<typeof proxyTable> = errorArea('proxy-protocol', proxyTable)

/** An additional value of version 2, as it came. */
export interface ProxyTlv {
  readonly type: number
  readonly value: Bytes
}

/** The two ends of the connection that is spoken for; `null`: not known. */
export interface ProxyEnds {
  readonly source: Endpoint | null
  readonly target: Endpoint | null
}

export interface ProxyHeader extends ProxyEnds {
  readonly version: 1 | 2
  /**
   * The proxy speaks for itself (LOCAL, a health check): the ends of the socket are the true ones.
   */
  readonly local: boolean
  readonly transport: 'stream' | 'datagram' | null
  /**
   * Without checksum and padding. Always empty in version 1, and where the addresses are unknown.
   */
  readonly tlvs: readonly ProxyTlv[]
}

/** Bytes of a PROXY line with its CRLF. */
const proxyLineBytesMax = 107

/** The types of TLV that this codec reads itself. */
const ProxyTlvType = { crc32c: 3, noop: 4 } as const

const lineStart = latin1Bytes('PROXY ')
const signature = latin1Bytes('\r\n\r\n\0\r\nQUIT\n')
const family = { unspec: 0, inet: 1, inet6: 2, unix: 3 } as const
const transports = [null, 'stream', 'datagram'] as const
const unixPathBytes = 108
const unknownEnds = { source: null, target: null } as const

/**
 * Decodes a header of either version, told apart by the first byte. Throws the codes of both, and
 * `proxy-protocol.absent` when neither begins here (HAProxy's text "The PROXY protocol",
 * sections 2.1 and 2.2). The next byte after it belongs to the connection that is spoken for.
 */
export const decodeProxy: Decoder<ProxyHeader> = (bytes, seen) => {
  return bytes[0] === signature[0] ? decodeProxyV2(bytes) : decodeProxyV1(bytes, seen)
}

/**
 * Decodes `PROXY SP (TCP4|TCP6) SP source SP target SP port SP port CRLF`, or `PROXY UNKNOWN` with
 * anything up to CRLF, 107 bytes at most (section 2.1). IPv4-mapped IPv6 comes out as IPv4. Throws
 * `proxy-protocol.absent`, `line-too-long`, `bad-line`.
 */
export function decodeProxyV1(bytes: Bytes, seen: number): Decoded<ProxyHeader> {
  if (!agrees(bytes, lineStart)) throw proxyError('absent')
  const end = bytes.subarray(0, proxyLineBytesMax).indexOf(0x0a, seen)
  if (end < 0) {
    if (bytes.length >= proxyLineBytesMax) throw proxyError('line-too-long')
    return need(1)
  }
  const line = latin1Text(bytes.subarray(0, end))
  // The one CR must be the last byte before LF, also in what UNKNOWN lets us ignore.
  if (line.indexOf('\r') !== line.length - 1) throw proxyError('bad-line')
  const words = line.slice(0, -1).split(' ')
  const [, kind, source = '', target = '', sourcePort = '', targetPort = ''] = words
  const header = { version: 1, local: false, tlvs: [] } as const
  if (kind === 'UNKNOWN') return done({ ...header, ...unknownEnds, transport: null }, end + 1)
  if ((kind !== 'TCP4' && kind !== 'TCP6') || words.length !== 6) throw proxyError('bad-line')
  const version = kind === 'TCP4' ? 4 : 6
  const ends = {
    source: { host: lineHost(source, version), port: linePort(sourcePort) },
    target: { host: lineHost(target, version), port: linePort(targetPort) },
  }
  return done({ ...header, ...ends, transport: 'stream' }, end + 1)
}

/** Whether `bytes` may still become, or already are, something that begins with `start`. */
function agrees(bytes: Bytes, start: Bytes): boolean {
  return start.every((byte, i) => i >= bytes.length || bytes[i] === byte)
}

/**
 * A dotted tail is taken, as systems print IPv4-mapped addresses so, though the text has hex only.
 */
function lineHost(text: string, version: 4 | 6): string {
  const bytes = ipBytes(text)
  if (bytes === null || isIp(text) !== version || text.includes('%')) throw proxyError('bad-line')
  return hostOfIp(bytes)
}

function linePort(text: string): Port {
  const value = Number(text)
  if (!/^(?:0|[1-9][0-9]{0,4})$/.test(text) || value > 65_535) throw proxyError('bad-line')
  return parsePort(value)
}

/**
 * Decodes `[signature 12][2 and command, 4 bits each][family and transport, 4 bits each][size u16]
 * [addresses and TLVs, size]` (section 2.2). With LOCAL, or where family or transport are left
 * unspecified, the block is skipped unread, as the text allows. UNIX ends come as a path, or
 * `@name` for an abstract one; one without a name is `null`. A CRC-32C TLV is checked. Throws
 * `proxy-protocol.absent`, `bad-version`, `bad-command`, `bad-family`, `bad-address` (also when
 * `size` is too small for the addresses), `bad-tlv`, `bad-checksum`.
 */
export function decodeProxyV2(bytes: Bytes): Decoded<ProxyHeader> {
  if (!agrees(bytes, signature)) throw proxyError('absent')
  const [versionCommand, familyTransport] = bytes.subarray(signature.length)
  if (versionCommand === undefined) return need(1)
  const command = versionCommand & 0x0f
  if (versionCommand >>> 4 !== 2) throw proxyError('bad-version')
  if (command > 1) throw proxyError('bad-command')
  if (familyTransport === undefined) return need(1)
  const kind = familyTransport >>> 4
  const transport = transports[familyTransport & 0x0f]
  const local = command === 0
  if (!local && (kind > family.unix || transport === undefined)) throw proxyError('bad-family')
  if (bytes.length < 16) return need(16 - bytes.length)
  const cursor = new Cursor(bytes.subarray(14))
  const size = 16 + cursor.u16()
  const isUnread = local || kind === family.unspec || transport === undefined || transport === null
  const addressBytes = isUnread ? 0 : addressSize(kind)
  if (size - 16 < addressBytes) throw proxyError('bad-address')
  if (bytes.length < size) return need(size - bytes.length)
  const header = { version: 2, local } as const
  if (isUnread) return done({ ...header, ...unknownEnds, transport: null, tlvs: [] }, size)
  const ends = kind === family.unix ? unixEnds(cursor) : ipEnds(cursor, addressBytes)
  const tlvs = readTlvs(bytes.subarray(0, size), 16 + addressBytes)
  return done({ ...header, ...ends, transport, tlvs }, size)
}

function addressSize(kind: number): number {
  return kind === family.inet ? 12 : kind === family.inet6 ? 36 : 2 * unixPathBytes
}

function ipEnds(cursor: Cursor, size: number): ProxyEnds {
  const ipSize = (size - 4) / 2
  const source = hostOfIp(cursor.take(ipSize))
  const target = hostOfIp(cursor.take(ipSize))
  return {
    source: { host: source, port: parsePort(cursor.u16()) },
    target: { host: target, port: parsePort(cursor.u16()) },
  }
}

function unixEnds(cursor: Cursor): ProxyEnds {
  const source = unixEnd(cursor.take(unixPathBytes))
  return { source, target: unixEnd(cursor.take(unixPathBytes)) }
}

function unixEnd(field: Bytes): Endpoint | null {
  const isAbstract = field[0] === 0
  const name = isAbstract ? field.subarray(1) : field
  const end = name.indexOf(0)
  const bytes = end < 0 ? name : name.subarray(0, end)
  if (bytes.length === 0) return null
  const text = pathText(bytes)
  // A relative path would read as a domain name, and an "@" as an abstract name.
  if (!isAbstract && !text.startsWith('/')) throw proxyError('bad-address')
  return { host: isAbstract ? `@${text}` : text, port: parsePort(0) }
}

function pathText(bytes: Bytes): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    if (!/\p{Cc}/u.test(text)) return text
  } catch {
    // Answered below.
  }
  throw proxyError('bad-address')
}

/** `[type u8][size u16][value]` until the end of the header (section 2.2, from "TLV vectors"). */
function readTlvs(header: Bytes, start: number): readonly ProxyTlv[] {
  const cursor = new Cursor(header.subarray(start))
  const tlvs: ProxyTlv[] = []
  let isChecked = false
  while (cursor.left > 0) {
    if (!cursor.has(3)) throw proxyError('bad-tlv')
    const type = cursor.u8()
    const size = cursor.u16()
    if (!cursor.has(size)) throw proxyError('bad-tlv')
    const value = cursor.take(size)
    if (type === ProxyTlvType.crc32c) {
      if (size !== 4 || isChecked) throw proxyError('bad-tlv')
      isChecked = true
      const sum = crc32c(header, start + cursor.at - 4)
      if (new Cursor(value).u32() !== sum) throw proxyError('bad-checksum')
    } else if (type !== ProxyTlvType.noop) tlvs.push({ type, value: copyOf(value) })
  }
  return tlvs
}

/** CRC-32C (RFC 9260 appendix A) over `header`, the 4 bytes at `hole` taken as zero. */
function crc32c(header: Bytes, hole: number): number {
  let sum = 0xffffffff
  for (const [at, byte] of header.entries()) {
    sum ^= at >= hole && at < hole + 4 ? 0 : byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0)
  }
  return (sum ^ 0xffffffff) >>> 0
}

/**
 * The line of version 1. Two IP addresses, one of them IPv6: TCP6, the other one IPv4-mapped.
 * Anything else (no address, a domain, a UNIX socket): `PROXY UNKNOWN`. Zones are left out.
 */
export function encodeProxyV1(ends: ProxyEnds): Bytes {
  const { source, target } = ends
  const from = source && ipBytes(source.host)
  const to = target && ipBytes(target.host)
  if (!source || !target || !from || !to) return latin1Bytes('PROXY UNKNOWN\r\n')
  const is4 = from.length === 4 && to.length === 4
  const text = (ip: Bytes): string => (is4 ? hostOfIp(ip) : lineIpv6(ip))
  const ports = `${String(source.port)} ${String(target.port)}`
  return latin1Bytes(`PROXY TCP${is4 ? '4' : '6'} ${text(from)} ${text(to)} ${ports}\r\n`)
}

/** Hex groups only, as the text asks; so an IPv4-mapped address stays IPv6. */
function lineIpv6(ip: Bytes): string {
  return ipText(asIpv6(ip))
}

/**
 * The header of version 2, with a CRC-32C TLV at its end if `checksum`. Two IP addresses, one of
 * them IPv6: INET6, the other one IPv4-mapped. Ends that are UNIX sockets, or one of them and
 * `null`: UNIX. Anything else, LOCAL, or no transport: UNSPEC without addresses, and then without
 * TLVs, as no receiver could find them. Throws `proxy-protocol.unencodable` for a path over 108
 * bytes and for TLVs that do not fit into 65,535 bytes.
 */
export function encodeProxyV2(header: Omit<ProxyHeader, 'version'>, checksum = false): Bytes {
  const { source, target, local } = header
  const block = new Builder()
  const kind = local || header.transport === null ? family.unspec : putEnds(block, source, target)
  if (kind !== family.unspec) {
    for (const { type, value } of header.tlvs) {
      if (value.length > 65_535) throw proxyError('unencodable')
      block.u8(type).u16(value.length).put(value)
    }
    if (checksum) block.u8(ProxyTlvType.crc32c).u16(4).u32(0)
  }
  const body = block.bytes()
  if (body.length > 65_535) throw proxyError('unencodable')
  const transport = kind === family.unspec ? 0 : transports.indexOf(header.transport)
  const whole = new Builder().put(signature).u8(local ? 0x20 : 0x21)
  whole
    .u8(kind * 16 + transport)
    .u16(body.length)
    .put(body)
  const bytes = whole.bytes()
  if (!checksum || kind === family.unspec) return bytes
  const hole = bytes.length - 4
  bytes.set(new Builder().u32(crc32c(bytes, hole)).bytes(), hole)
  return bytes
}

/** Adds the addresses, if their family has a form, and says which it is. */
function putEnds(block: Builder, source: Endpoint | null, target: Endpoint | null): number {
  const from = source && ipBytes(source.host)
  const to = target && ipBytes(target.host)
  if (source && target && from && to) {
    const is4 = from.length === 4 && to.length === 4
    block.put(is4 ? from : asIpv6(from)).put(is4 ? to : asIpv6(to))
    block.u16(source.port).u16(target.port)
    return is4 ? family.inet : family.inet6
  }
  const sourcePath = unixPath(source)
  const targetPath = unixPath(target)
  if (!sourcePath || !targetPath || (source === null && target === null)) return family.unspec
  block.put(sourcePath).put(targetPath)
  return family.unix
}

/** The 108 bytes of a UNIX address, zeros without one; `null` for an end of another family. */
function unixPath(end: Endpoint | null): Bytes | null {
  const field = new Uint8Array(unixPathBytes)
  if (end === null) return field
  const isAbstract = end.host.startsWith('@')
  if (!isAbstract && !end.host.startsWith('/')) return null
  const path = utf8Bytes(isAbstract ? `\0${end.host.slice(1)}` : end.host)
  if (path.length > unixPathBytes) throw proxyError('unencodable')
  field.set(path)
  return field
}
