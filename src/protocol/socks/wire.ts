import {
  type Bytes,
  copyOf,
  type Decoded,
  done,
  latin1Bytes,
  latin1Text,
  need,
  utf8Bytes,
} from '../../bytes/bytes.ts'
import { Builder, Cursor } from '../../bytes/cursor.ts'
import { type Endpoint, parsePort } from '../../core/endpoint.ts'
import { type ErrorMaker, errorArea, type SluiceError } from '../../core/errors.ts'
import {
  decodeSocksAddress,
  domainBytes,
  domainBytesMax,
  encodeSocksAddress,
  hostOf,
  hostOfIp,
  ipBytes,
} from '../../wire/address.ts'

const socksTable = {
  'bad-version': ['peer', 'this is not the version of SOCKS that must stand here'],
  'no-methods': ['peer', 'the client offers no method of authentication'],
  'bad-credentials': ['peer', 'user or password is not UTF-8'],
  'bad-command': ['peer', 'this command does not exist'],
  'bad-reserved': ['peer', 'a reserved byte is not zero'],
  'user-too-long': ['peer', 'the user id of SOCKS4 is over 255 bytes'],
  'domain-too-long': ['peer', 'the domain of SOCKS4a is over 255 bytes'],
  'not-authenticated': ['refused', 'user and password are wanted and were not given or are wrong'],
  'command-refused': ['refused', 'this command is not offered here'],
  'no-ipv6': ['refused', 'SOCKS4 cannot name an IPv6 address'],
  'credentials-too-long': ['config', 'user or password does not fit into its 255 bytes'],
  unencodable: ['bug', 'this message has no form on the wire'],
} as const
export const socksError: ErrorMaker<typeof socksTable> = errorArea('socks', socksTable)

/** Most bytes of the user id of SOCKS4, which itself has no length and no limit. */
const socksUserBytesMax = 255

/** RFC 1928 section 3; `none` is the answer "no acceptable methods". */
export const SocksMethod = { open: 0, gssapi: 1, password: 2, none: 0xff } as const
export type SocksMethod = (typeof SocksMethod)[keyof typeof SocksMethod]

/** RFC 1928 section 4; SOCKS4 has the first two. */
export const SocksCommand = { connect: 1, bind: 2, udpAssociate: 3 } as const
export type SocksCommand = (typeof SocksCommand)[keyof typeof SocksCommand]

/** RFC 1928 section 6. */
export const Socks5Reply = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const
export type Socks5Reply = (typeof Socks5Reply)[keyof typeof Socks5Reply]

/** "SOCKS: A protocol for TCP proxy across firewalls", the last page. */
export const Socks4Reply = {
  granted: 90,
  rejected: 91,
  identUnreachable: 92,
  identMismatch: 93,
} as const
export type Socks4Reply = (typeof Socks4Reply)[keyof typeof Socks4Reply]

export interface Socks5Greeting {
  readonly version: 5
  /** 1 to 255 methods, as offered; unknown numbers too. */
  readonly methods: Bytes
}
export interface Socks4Request {
  readonly version: 4
  readonly command: typeof SocksCommand.connect | typeof SocksCommand.bind
  readonly target: Endpoint
  /** One character a byte; the protocol names no character set. Proves nothing. */
  readonly user: string
}
export interface Socks5Request {
  readonly command: SocksCommand
  readonly target: Endpoint
}
export interface SocksCredentials {
  readonly user: string
  readonly pass: string
}
export interface SocksReply {
  /** A code of `Socks5Reply` or `Socks4Reply`, or one that neither knows. */
  readonly code: number
  readonly bound: Endpoint
}
export interface SocksUdpHeader {
  /** 0: a whole datagram. Else a fragment (bit 7: the last one), which RFC 1928 7 lets us drop. */
  readonly fragment: number
  readonly peer: Endpoint
}

/**
 * The first message of a client of either version: `[5][count u8][methods]` (RFC 1928 3) or
 * `[4][command u8][port u16][ip 4][user][0]`, with 4a `[domain][0]` after an ip of 0.0.0.1 to
 * 0.0.0.255. Throws `socks.bad-version`, `no-methods`, `bad-command`, `user-too-long`,
 * `domain-too-long`, `address.bad-domain`.
 */
export function decodeOpening(bytes: Bytes): Decoded<Socks5Greeting | Socks4Request> {
  return bytes[0] === 4 ? decodeRequest4(bytes) : decodeGreeting5(bytes)
}

/** `[5][count u8][methods]`. Throws `socks.bad-version`, `no-methods` (a count of 0). */
export function decodeGreeting5(bytes: Bytes): Decoded<Socks5Greeting> {
  const [version, count] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 5)
  if (count === undefined) return need(1)
  if (count === 0) throw socksError('no-methods')
  const size = 2 + count
  if (bytes.length < size) return need(size - bytes.length)
  return done({ version: 5, methods: copyOf(bytes.subarray(2, size)) }, size)
}

/**
 * The request of SOCKS4 and 4a; see `decodeOpening`. BIND is decoded, for the inbound to refuse;
 * any further command throws `socks.bad-command`. A user id without its NUL in 256 bytes throws
 * `socks.user-too-long`, such a domain `socks.domain-too-long`, and an empty or wrong domain
 * `address.bad-domain`.
 */
export function decodeRequest4(bytes: Bytes): Decoded<Socks4Request> {
  const [version, command] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 4)
  if (command === undefined) return need(1)
  if (command !== SocksCommand.connect && command !== SocksCommand.bind) {
    throw socksError('bad-command', { detail: { command } })
  }
  if (bytes.length < 9) return need(9 - bytes.length)
  const cursor = new Cursor(bytes.subarray(2))
  const port = parsePort(cursor.u16())
  const ip = cursor.take(4)
  const userBytes = untilNul(bytes.subarray(8), socksUserBytesMax)
  if (userBytes === 'too long') throw socksError('user-too-long')
  if (userBytes === 'cut') return need(1)
  const user = latin1Text(userBytes)
  const size = 8 + userBytes.length + 1
  if (ip[0] !== 0 || ip[1] !== 0 || ip[2] !== 0 || ip[3] === 0) {
    return done({ version: 4, command, target: { host: hostOfIp(ip), port }, user }, size)
  }
  const domain = untilNul(bytes.subarray(size), domainBytesMax)
  if (domain === 'too long') throw socksError('domain-too-long')
  if (domain === 'cut') return need(1)
  const target = { host: hostOf(latin1Text(domain)), port }
  return done({ version: 4, command, target, user }, size + domain.length + 1)
}

/** What stands before the first NUL, at most `bytesMax` bytes. */
function untilNul(bytes: Bytes, bytesMax: number): Bytes | 'cut' | 'too long' {
  const end = bytes.subarray(0, bytesMax + 1).indexOf(0)
  if (end >= 0) return bytes.subarray(0, end)
  return bytes.length > bytesMax ? 'too long' : 'cut'
}

function mustBeVersion(found: number, wanted: number): void {
  if (found !== wanted) throw socksError('bad-version', { detail: { found, wanted } })
}

/**
 * `[1][size u8][user][size u8][password]` (RFC 1929 2), both read as UTF-8. Empty ones are taken,
 * though the text begins at 1: clients send them, and they are just wrong credentials. Throws
 * `socks.bad-version`, `bad-credentials`.
 */
export function decodeCredentials(bytes: Bytes): Decoded<SocksCredentials> {
  const [version, userSize] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 1)
  if (userSize === undefined) return need(1)
  const passSize = bytes[2 + userSize]
  if (passSize === undefined) return need(2 + userSize + 1 - bytes.length)
  const size = 2 + userSize + 1 + passSize
  if (bytes.length < size) return need(size - bytes.length)
  const user = credentialText(bytes.subarray(2, 2 + userSize))
  return done({ user, pass: credentialText(bytes.subarray(size - passSize, size)) }, size)
}

function credentialText(bytes: Bytes): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw socksError('bad-credentials')
  }
}

/**
 * `[5][command u8][0][address]` (RFC 1928 4), the address as in `decodeSocksAddress`. BIND is
 * decoded, for the inbound to refuse. Throws `socks.bad-version`, `bad-command`, `bad-reserved`,
 * `address.bad-type`, `address.bad-domain`.
 */
export function decodeRequest5(bytes: Bytes): Decoded<Socks5Request> {
  const [version, command, reserved] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 5)
  if (command === undefined) return need(1)
  if (!isCommand(command)) throw socksError('bad-command', { detail: { command } })
  if (reserved === undefined) return need(1)
  if (reserved !== 0) throw socksError('bad-reserved')
  return after(bytes, 3, target => ({ command, target }))
}

function isCommand(value: number): value is SocksCommand {
  return value >= SocksCommand.connect && value <= SocksCommand.udpAssociate
}

/** The address that ends a message after `start` bytes, made into the value of the whole. */
function after<T>(bytes: Bytes, start: number, make: (end: Endpoint) => T): Decoded<T> {
  const address = decodeSocksAddress(bytes.subarray(start))
  if (address.kind === 'need') return address
  return done(make(address.value), start + address.size)
}

/** `[5][method u8]`, the server's choice (RFC 1928 3). Throws `socks.bad-version`. */
export function decodeMethodChoice(bytes: Bytes): Decoded<number> {
  return decodePair(bytes, 5)
}

/** `[1][status u8]`, 0 for right credentials (RFC 1929 2). Throws `socks.bad-version`. */
export function decodeCredentialsReply(bytes: Bytes): Decoded<number> {
  return decodePair(bytes, 1)
}

function decodePair(bytes: Bytes, wanted: number): Decoded<number> {
  const [version, value] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, wanted)
  return value === undefined ? need(1) : done(value, 2)
}

/**
 * `[5][code u8][reserved u8][address]`, the server's reply (RFC 1928 6). The reserved byte is not
 * looked at: it changes nothing, and servers exist that leave rubbish there. Throws
 * `socks.bad-version`, `address.bad-type`, `address.bad-domain`.
 */
export function decodeReply5(bytes: Bytes): Decoded<SocksReply> {
  const [version, code] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 5)
  if (code === undefined || bytes.length < 3) return need(3 - bytes.length)
  return after(bytes, 3, bound => ({ code, bound }))
}

/** `[0][code u8][port u16][ip 4]`, the server's reply of SOCKS4. Throws `socks.bad-version`. */
export function decodeReply4(bytes: Bytes): Decoded<SocksReply> {
  const [version] = bytes
  if (version === undefined) return need(1)
  mustBeVersion(version, 0)
  if (bytes.length < 8) return need(8 - bytes.length)
  const cursor = new Cursor(bytes.subarray(1))
  const code = cursor.u8()
  const port = parsePort(cursor.u16())
  return done({ code, bound: { host: hostOfIp(cursor.take(4)), port } }, 8)
}

/**
 * `[0 u16][fragment u8][address]` in front of a datagram (RFC 1928 7); the payload is what follows,
 * and `need` means that the datagram was cut. Throws `socks.bad-reserved`, `address.bad-type`,
 * `address.bad-domain`.
 */
export function decodeUdpHeader(bytes: Bytes): Decoded<SocksUdpHeader> {
  if (bytes.subarray(0, 2).some(byte => byte !== 0)) throw socksError('bad-reserved')
  const fragment = bytes[2]
  if (fragment === undefined) return need(1)
  return after(bytes, 3, peer => ({ fragment, peer }))
}

/** `[5][count u8][methods]`. Throws `socks.unencodable` unless there are 1 to 255. */
export function encodeGreeting5(methods: Bytes): Bytes {
  if (methods.length === 0 || methods.length > 255) throw socksError('unencodable')
  return new Builder().u8(5).u8(methods.length).put(methods).bytes()
}

/** `[5][method u8]`. */
export function encodeMethodChoice(method: SocksMethod): Bytes {
  return new Builder().u8(5).u8(method).bytes()
}

/**
 * `[1][size u8][user][size u8][password]` in UTF-8. Throws `socks.credentials-too-long` over 255.
 */
export function encodeCredentials(credentials: SocksCredentials): Bytes {
  const user = utf8Bytes(credentials.user)
  const pass = utf8Bytes(credentials.pass)
  if (user.length > 255 || pass.length > 255) throw socksError('credentials-too-long')
  return new Builder().u8(1).u8(user.length).put(user).u8(pass.length).put(pass).bytes()
}

/** `[1][status u8]`: 0 if `isRight`, else 1, after which the server must close (RFC 1929 2). */
export function encodeCredentialsReply(isRight: boolean): Bytes {
  return new Builder()
    .u8(1)
    .u8(isRight ? 0 : 1)
    .bytes()
}

/** `[5][command u8][0][address]`. Throws `address.unencodable` as `encodeSocksAddress` does. */
export function encodeRequest5(request: Socks5Request): Bytes {
  const builder = new Builder().u8(5).u8(request.command).u8(0)
  return builder.put(encodeSocksAddress(request.target)).bytes()
}

/**
 * `[5][code u8][0][address]`. Without `bound`, or where it is a UNIX socket, the address is
 * 0.0.0.0:0, as clients expect one in every reply.
 */
export function encodeReply5(code: Socks5Reply, bound: Endpoint | null = null): Bytes {
  const isTold = bound !== null && !/^[/@]/.test(bound.host)
  const address = encodeSocksAddress(isTold ? bound : { host: '0.0.0.0', port: parsePort(0) })
  return new Builder().u8(5).u8(code).u8(0).put(address).bytes()
}

/**
 * `[4][command u8][port u16][ip 4][user][0]`; a domain goes as 4a. Throws `socks.no-ipv6`,
 * `socks.unencodable` for a user id with a NUL or outside ISO 8859-1, and also for 0.0.0.1 to
 * 0.0.0.255, which would mean a domain; `socks.credentials-too-long` for one over 255 bytes.
 */
export function encodeRequest4(request: Omit<Socks4Request, 'version'>): Bytes {
  const { command, target, user } = request
  if (user.includes('\0') || /[\u0100-\uffff]/.test(user)) throw socksError('unencodable')
  if (user.length > socksUserBytesMax) throw socksError('credentials-too-long')
  const ip = ipBytes(target.host)
  if (ip?.length === 16) throw socksError('no-ipv6')
  const builder = new Builder().u8(4).u8(command).u16(target.port)
  if (ip === null) {
    builder.u32(1).put(latin1Bytes(user)).u8(0)
    return builder.put(domainBytes(target.host)).u8(0).bytes()
  }
  if (/^0\.0\.0\.[1-9]/.test(target.host)) throw socksError('unencodable')
  return builder.put(ip).put(latin1Bytes(user)).u8(0).bytes()
}

/**
 * `[0][code u8][port u16][ip 4]`; without an IPv4 `bound` zeros, which clients take as "the
 * server".
 */
export function encodeReply4(code: Socks4Reply, bound: Endpoint | null = null): Bytes {
  const ip = bound === null ? null : ipBytes(bound.host)
  const builder = new Builder().u8(0).u8(code)
  if (bound === null || ip?.length !== 4) return builder.u16(0).u32(0).bytes()
  return builder.u16(bound.port).put(ip).bytes()
}

/** `[0 u16][0][address]`, to stand in front of a whole datagram from `peer`. */
export function encodeUdpHeader(peer: Endpoint): Bytes {
  return new Builder().u16(0).u8(0).put(encodeSocksAddress(peer)).bytes()
}

const replyOfCode: ReadonlyMap<string, Socks5Reply> = new Map([
  ['socks.bad-command', Socks5Reply.commandNotSupported],
  ['socks.command-refused', Socks5Reply.commandNotSupported],
  ['address.bad-type', Socks5Reply.addressTypeNotSupported],
  // Ours to refuse, but no ruleset: the client may try again.
  ['net.no-descriptors', Socks5Reply.generalFailure],
])

const replyOfSystem: ReadonlyMap<string, Socks5Reply> = new Map([
  ['ECONNREFUSED', Socks5Reply.connectionRefused],
  ['ENETUNREACH', Socks5Reply.networkUnreachable],
  ['ENETDOWN', Socks5Reply.networkUnreachable],
  ['EHOSTUNREACH', Socks5Reply.hostUnreachable],
  ['EHOSTDOWN', Socks5Reply.hostUnreachable],
  ['ENOTFOUND', Socks5Reply.hostUnreachable],
  ['ETIMEDOUT', Socks5Reply.hostUnreachable],
])

/**
 * The reply (RFC 1928 6) to a request that failed with `error`. What the system said of the target
 * comes first, then who is to blame. A timeout is "host unreachable": nobody answered, which is all that is
 * known, while "TTL expired" speaks of the hop limit of IP, which a proxy never sees. Anything
 * without a reply of its own is a general failure, so a bug tells a client nothing. A name that
 * does not resolve is "host unreachable" too, unless policy forbade its answer.
 */
export function socks5ReplyFor(error: SluiceError): Socks5Reply {
  const ofCode = replyOfCode.get(error.code)
  if (ofCode !== undefined) return ofCode
  // What the system says of a lookup is about the name server, not about the target.
  const isName = error.call === 'resolve' || error.code.startsWith('dns.')
  if (isName && error.blame !== 'refused') return Socks5Reply.hostUnreachable
  const ofSystem = replyOfSystem.get(error.system ?? '')
  if (ofSystem !== undefined) return ofSystem
  if (/[.-]timeout$/.test(error.code)) return Socks5Reply.hostUnreachable
  return error.blame === 'refused' ? Socks5Reply.notAllowed : Socks5Reply.generalFailure
}
