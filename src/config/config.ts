import type * as v from 'valibot'
import type { Port } from '../core/endpoint.ts'

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'none'

/** Where a log goes. */
export type LogTarget =
  | { readonly kind: 'console' }
  | { readonly kind: 'off' }
  | { readonly kind: 'file'; readonly path: string }

export interface LogConfig {
  readonly level: LogLevel
  /** One line for each connection. */
  readonly access: LogTarget
  /** Everything else. */
  readonly error: LogTarget
}

/** Deadlines of a flow; `undefined` means that the flow has no such deadline. */
export interface PolicyConfig {
  readonly handshakeMs: number
  readonly connIdleMs: number
  /** How long a flow lives on when only the uplink is still open. */
  readonly uplinkOnlyMs: number | undefined
  readonly downlinkOnlyMs: number | undefined
  /** Idle time after which a half-closed flow ends. */
  readonly halfCloseIdleMs: number
}

export interface InboundConfig {
  /** Unique among inbounds; `type-number` where the file gives none. */
  readonly tag: string
  /** The type in the registry, never an alias. */
  readonly type: string
  /** In the form of `Endpoint.host`: an IP address, or the path of a UNIX socket. */
  readonly listen: string
  /** 0 for a UNIX socket. */
  readonly port: Port
  readonly acceptProxyProtocol: boolean
  /** What the options schema of the protocol made of `settings`. */
  readonly options: unknown
}

export interface OutboundConfig {
  /** Unique among outbounds; `type-number` where the file gives none. */
  readonly tag: string
  readonly type: string
  readonly options: unknown
}

/** A whole configuration, every part checked. */
export interface SluiceConfig {
  readonly log: LogConfig
  readonly policy: PolicyConfig
  readonly inbounds: readonly InboundConfig[]
  /** The first one takes whatever nothing else decides. */
  readonly outbounds: readonly OutboundConfig[]
}

/** What the configuration needs to know of a protocol. */
export interface ProtocolEntry {
  readonly type: string
  readonly aliases?: readonly string[]
  /** Parses `settings`; gets `{}` where there are none. */
  readonly options: v.GenericSchema
}

export interface Registry {
  readonly inbounds: readonly ProtocolEntry[]
  readonly outbounds: readonly ProtocolEntry[]
  /** Protocols that are known but not built: refused as not supported, not as misspelt. */
  readonly notYet?: readonly string[]
}

export const logDefaults: LogConfig = {
  level: 'warning',
  access: { kind: 'console' },
  error: { kind: 'console' },
}

export const policyDefaults: PolicyConfig = {
  handshakeMs: 10_000,
  connIdleMs: 300_000,
  uplinkOnlyMs: undefined,
  downlinkOnlyMs: undefined,
  halfCloseIdleMs: 120_000,
}
