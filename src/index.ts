import { builtin, notYet } from './builtin.ts'
import type { Registry, SluiceConfig } from './config/config.ts'
import { loadConfigFile, loadConfigText, type LoadedConfig } from './config/load.ts'
import { type Clock, SystemClock } from './core/clock.ts'
import type { Protocols } from './contract/protocols.ts'
import type { Scope } from './core/scope.ts'
import { SystemResolver } from './dns/system.ts'
import { Engine } from './engine/engine.ts'
import type { FlowPolicy } from './engine/flow.ts'
import type { Resolver } from './net/network.ts'
import type { SocketOptions } from './net/socket-link.ts'
import type { EventSink } from './observe/events.ts'

export interface LoadOptions {
  /** Protocols of your own, beside the shipped ones. */
  readonly protocols?: Partial<Protocols>
}

/**
 * Reads a configuration with the names of Xray from a file (JSON with comments). Throws
 * `config.invalid`; `diagnosticsOf(error)` lists every mistake with its place.
 */
export function loadConfig(path: string, options: LoadOptions = {}): Promise<LoadedConfig> {
  return loadConfigFile(path, registryOf(withBuiltin(options.protocols)))
}

/** As `loadConfig` for a text; `name` is what diagnostics call it. */
export function parseConfig(name: string, text: string, options: LoadOptions = {}): LoadedConfig {
  return loadConfigText(name, text, registryOf(withBuiltin(options.protocols)))
}

export interface StartOptions extends LoadOptions {
  /** Hears everything that happens: listeners, ended flows, faults, the stop. */
  readonly onEvent?: EventSink
  readonly clock?: Clock
  /** Made with the engine's scope; the system's hosts file and DNS servers when left out. */
  readonly resolver?: (scope: Scope) => Resolver
  readonly socket?: Partial<SocketOptions>
  readonly connectTimeoutMs?: number
  /** Wins over the configuration. */
  readonly policy?: Partial<FlowPolicy>
}

/**
 * Opens every inbound of `config` and serves until `engine.stop(graceMs)` or `engine.abort()`;
 * `await using` stops it politely. Throws the first listener's failure, with nothing left open.
 */
export function start(config: SluiceConfig, options: StartOptions = {}): Promise<Engine> {
  return Engine.start(config, {
    protocols: withBuiltin(options.protocols),
    clock: options.clock ?? new SystemClock(),
    resolver: options.resolver ?? (scope => new SystemResolver(scope)),
    sink: options.onEvent ?? (() => undefined),
    ...(options.socket === undefined ? {} : { socket: options.socket }),
    ...(options.connectTimeoutMs === undefined
      ? {}
      : { connectTimeoutMs: options.connectTimeoutMs }),
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  })
}

function withBuiltin(more: Partial<Protocols> = {}): Protocols {
  return {
    inbounds: [...builtin.inbounds, ...(more.inbounds ?? [])],
    outbounds: [...builtin.outbounds, ...(more.outbounds ?? [])],
    transports: [...builtin.transports, ...(more.transports ?? [])],
  }
}

function registryOf(protocols: Protocols): Registry {
  const named = new Set(
    [...protocols.inbounds, ...protocols.outbounds].flatMap(({ type, aliases }) => [
      type,
      ...aliases,
    ]),
  )
  return {
    inbounds: protocols.inbounds,
    outbounds: protocols.outbounds,
    notYet: notYet.filter(type => !named.has(type)),
  }
}

export type { Bytes } from './bytes/bytes.ts'
export type { SluiceConfig } from './config/config.ts'
export {
  type Diagnostic,
  diagnosticsJson,
  diagnosticsOf,
  formatDiagnostics,
} from './config/diagnostics.ts'
export type { LoadedConfig } from './config/load.ts'
export type { Accepted, FlowRequest } from './contract/flow.ts'
export {
  type AcceptContext,
  defineInbound,
  type Inbound,
  type InboundDefinition,
  type InboundHandler,
} from './contract/inbound.ts'
export {
  defineOutbound,
  type Outbound,
  type OutboundContext,
  type OutboundDefinition,
  type OutboundHandler,
} from './contract/outbound.ts'
export {
  defineTransport,
  type Transport,
  type TransportDefinition,
  type TransportHandler,
} from './contract/transport.ts'
export { type Endpoint, formatEndpoint, parsePort, type Port } from './core/endpoint.ts'
export { type Blame, type ErrorCode, SluiceError } from './core/errors.ts'
export type { Reason, RelayRecord, Side } from './core/flow-record.ts'
export { prefixed, readHead } from './core/head.ts'
export {
  Halves,
  Link,
  type LinkBody,
  Moved,
  type Now,
  Owner,
  type Sink,
  type Source,
} from './core/link.ts'
export type { Packet, PacketLink } from './core/packets.ts'
export { type Ending, type LedgerRow, Scope } from './core/scope.ts'
export type { Protocols } from './contract/protocols.ts'
export { Engine } from './engine/engine.ts'
export type { EngineEvent, EventSink, FlowRecord } from './observe/events.ts'
export { accessLine } from './observe/lines.ts'
export { type Log, openLog, type Terminal } from './observe/log.ts'
