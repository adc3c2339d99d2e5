import { SluiceError } from './errors.ts'

declare const portBrand: unique symbol
/** A TCP or UDP port, 0 to 65,535; 0 means "any" where one is asked for. */
export type Port = number & { readonly [portBrand]: true }

/**
 * One end of a link. `host` is an IP address in canonical text (IPv6 without brackets), a lower-case
 * domain name, or the path of a UNIX socket with port 0.
 */
export interface Endpoint {
  readonly host: string
  readonly port: Port
}

/** Takes a whole number from 0 to 65,535, else throws `config.bad-port`. */
export function parsePort(value: number): Port {
  if (isPort(value)) return value
  throw new SluiceError('config.bad-port', 'config', `${String(value)} is not a port (0 to 65535)`)
}

function isPort(value: number): value is Port {
  return Number.isInteger(value) && value >= 0 && value <= 65_535
}

/** `host:port`, `[v6]:port`, or the path alone for a UNIX socket. */
export function formatEndpoint(end: Endpoint): string {
  if (end.host.startsWith('/') || end.host.startsWith('@')) return end.host
  return end.host.includes(':')
    ? `[${end.host}]:${String(end.port)}`
    : `${end.host}:${String(end.port)}`
}
