import * as v from 'valibot'
import { foundText } from './words.ts'

/**
 * An IP address in canonical text (IPv6 without brackets, RFC 5952; IPv4-mapped as the IPv4 address),
 * or `null`. A zone (`fe80::1%eth0`) is kept.
 */
export function canonicalIp(text: string): string | null {
  if (isIpv4(text)) return text
  const plain = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  const [, address = '', zone = ''] = /^([0-9a-f:.]{2,45})(%[\w.-]{1,32})?$/i.exec(plain) ?? []
  if (!address.includes(':') || !URL.canParse(`http://[${address}]/`)) return null
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  return zone === '' ? (mappedIpv4(canonical) ?? canonical) : canonical + zone
}

function isIpv4(text: string): boolean {
  const parts = text.split('.')
  return (
    parts.length === 4 && parts.every(part => /^(?:0|[1-9]\d{0,2})$/.test(part) && +part <= 255)
  )
}

function mappedIpv4(canonical: string): string | null {
  const groups = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical)
  if (groups === null) return null
  const bytes = [groups[1], groups[2]].flatMap(group => {
    const value = Number.parseInt(group ?? '', 16)
    return [value >> 8, value & 0xff]
  })
  return bytes.join('.')
}

const domainMax = 253
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/** A domain name in lower case and ASCII (RFC 1035 2.3.4, RFC 5890), without a final dot, or `null`. */
export function canonicalDomain(text: string): string | null {
  const ascii = toAscii(text.toLowerCase())
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
  const labels = name.split('.')
  // A last label of digits only is a mistyped IPv4 address, never a domain.
  if (name.length > domainMax || /^\d*$/.test(labels.at(-1) ?? '')) return null
  return labels.every(one => label.test(one)) ? name : null
}

/** Letters of other scripts in the ASCII form that DNS carries; `''` when there is none. */
function toAscii(text: string): string {
  if (/^[\x21-\x7e]*$/.test(text)) return text
  if (/[\s/?#@:\\[\]%]/.test(text) || !URL.canParse(`http://${text}/`)) return ''
  return new URL(`http://${text}/`).hostname
}

/** An IP address or a domain name, given in the form `Endpoint.host` has. */
export function host(): v.GenericSchema<unknown, string> {
  return textAs(
    'must be an IP address or a domain name',
    text => canonicalIp(text) ?? canonicalDomain(text),
  )
}

/** An IP address, given in the form `Endpoint.host` has. */
export function ipAddress(): v.GenericSchema<unknown, string> {
  return textAs('must be an IP address', canonicalIp)
}

/** Whether a listen address is the path of a UNIX socket; `@` begins an abstract name. */
export function isSocketPath(listen: unknown): boolean {
  return typeof listen === 'string' && /^[/@]/.test(listen)
}

/** The address an inbound listens on, in the form `Endpoint.host` has; `''` counts as all IPv4. */
export function listenHost(): v.GenericSchema<unknown, string> {
  return textAs('must be an IP address or the path of a UNIX socket', listenHostOf)
}

/** As `listenHost` gives it; `null` for what it refuses. */
export function listenHostOf(listen: unknown): string | null {
  if (typeof listen !== 'string') return null
  if (listen === '') return anyIpv4
  if (listen === 'localhost') return '127.0.0.1'
  if (isSocketPath(listen)) return isPlainPath(listen) ? listen : null
  return canonicalIp(listen)
}

export const anyIpv4 = '0.0.0.0'

/** Xray reads `/path,0666` as a path and its mode; a socket named so would surprise. */
function isPlainPath(path: string): boolean {
  return path.length > 1 && !/,\d+$/.test(path) && !/\p{Cc}/u.test(path.slice(1))
}

function textAs(
  message: string,
  parse: (text: string) => string | null,
): v.GenericSchema<unknown, string> {
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const { value } = dataset
      const parsed = typeof value === 'string' ? parse(value) : null
      if (parsed !== null) return parsed
      addIssue({ message: `${message}, found ${foundText(value)}` })
      return NEVER
    }),
  )
}
