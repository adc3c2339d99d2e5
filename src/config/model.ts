import * as v from 'valibot'
import { type Port, parsePort } from '../core/endpoint.ts'
import type { LogConfig, LogLevel, LogTarget, PolicyConfig } from './config.ts'
import { logDefaults, policyDefaults } from './config.ts'
import { ipAddress, isSocketPath, listenHost } from './hosts.ts'
import {
  list,
  must,
  notYetUnlessEmpty,
  oneOf,
  portOrText,
  seconds,
  strictObject,
  switchWithoutEffect,
  tag,
  withoutEffect,
} from './schema.ts'
import { allocate, mux, outboundStreamSettings, sniffing, streamSettings } from './stream.ts'
import { isFields, notYetText } from './strict-object.ts'

/** A file with the names of Xray, its protocols' `settings` still unread. */
export interface ConfigShape {
  readonly log: LogConfig
  readonly policy: PolicyConfig
  readonly inbounds: readonly InboundShape[]
  readonly outbounds: readonly OutboundShape[]
}

export interface InboundShape {
  readonly tag: string
  readonly listen: string
  readonly port: Port
  readonly acceptProxyProtocol: boolean
}

export interface OutboundShape {
  readonly tag: string
}

function logTarget(): v.GenericSchema<unknown, LogTarget> {
  return v.pipe(
    v.string(must('be the path of a file, "none" or ""')),
    v.transform((path): LogTarget => {
      if (path === '') return { kind: 'console' }
      return path === 'none' ? { kind: 'off' } : { kind: 'file', path }
    }),
  )
}

const levels = ['debug', 'info', 'warning', 'error', 'none'] as const

const log: v.GenericSchema<unknown, LogConfig> = v.pipe(
  v.unknown(),
  strictObject({
    loglevel: v.optional(oneOf(levels, { anyCase: true })),
    access: v.optional(logTarget()),
    error: v.optional(logTarget()),
    dnsLog: switchWithoutEffect(),
    maskAddress: v.optional(v.literal('', notYetText)),
  }),
  v.transform(({ loglevel, access, error }) => {
    const level: LogLevel = loglevel ?? logDefaults.level
    return { level, access: access ?? logDefaults.access, error: error ?? logDefaults.error }
  }),
)

const levelPolicy = strictObject({
  handshake: v.optional(seconds(1)),
  connIdle: v.optional(seconds(1)),
  uplinkOnly: v.optional(seconds(0)),
  downlinkOnly: v.optional(seconds(0)),
  /** Not in Xray, which closes at once what is half closed and silent. */
  halfCloseIdle: v.optional(seconds(1)),
  bufferSize: withoutEffect(),
  statsUserUplink: switchWithoutEffect(),
  statsUserDownlink: switchWithoutEffect(),
  statsUserOnline: switchWithoutEffect(),
})

const levelName = v.pipe(
  v.string(),
  v.regex(/^\d{1,9}$/, 'must be the number of a level, like "0"'),
)

const policyLevels = v.pipe(
  v.custom<Record<string, unknown>>(isFields, must('be an object')),
  v.record(levelName, levelPolicy),
)

const policy: v.GenericSchema<unknown, PolicyConfig> = v.pipe(
  v.unknown(),
  strictObject({
    levels: v.optional(policyLevels),
    system: v.optional(
      strictObject({
        statsInboundUplink: switchWithoutEffect(),
        statsInboundDownlink: switchWithoutEffect(),
        statsOutboundUplink: switchWithoutEffect(),
        statsOutboundDownlink: switchWithoutEffect(),
      }),
    ),
  }),
  v.transform(({ levels }) => {
    const own = levels?.['0']
    return {
      handshakeMs: own?.handshake ?? policyDefaults.handshakeMs,
      connIdleMs: own?.connIdle ?? policyDefaults.connIdleMs,
      uplinkOnlyMs: own?.uplinkOnly,
      downlinkOnlyMs: own?.downlinkOnly,
      halfCloseIdleMs: own?.halfCloseIdle ?? policyDefaults.halfCloseIdleMs,
    }
  }),
)

const inboundEntries = {
  tag: v.optional(tag(), ''),
  listen: v.optional(listenHost(), ''),
  /** Which protocol it is, and its settings, are read with the registry. */
  protocol: v.unknown(),
  settings: v.optional(v.unknown()),
  streamSettings: v.optional(streamSettings),
  sniffing: v.optional(sniffing),
  allocate: v.optional(allocate),
}

const noPort = parsePort(0)
const onPort = strictObject({ ...inboundEntries, port: portOrText() })
const onSocketPath = v.pipe(
  strictObject({ ...inboundEntries, port: v.optional(v.union([v.string(), v.number()])) }),
  v.transform(shape => ({ ...shape, port: noPort })),
)

/** Where an inbound listens decides whether it needs a port. */
const inbound: v.GenericSchema<unknown, InboundShape> = v.pipe(
  v.unknown(),
  v.lazy(item => (isFields(item) && isSocketPath(item['listen']) ? onSocketPath : onPort)),
  v.transform(({ tag, listen, port, streamSettings }) => ({
    tag,
    listen,
    port,
    acceptProxyProtocol: streamSettings?.acceptProxyProtocol === true,
  })),
)

/** Any local address is what every outbound does without being asked. */
const sendThrough = v.pipe(
  ipAddress(),
  v.check(address => address === '0.0.0.0' || address === '::', notYetText),
)

const outbound: v.GenericSchema<unknown, OutboundShape> = v.pipe(
  v.unknown(),
  strictObject(
    {
      tag: v.optional(tag(), ''),
      protocol: v.unknown(),
      settings: v.optional(v.unknown()),
      sendThrough: v.optional(sendThrough),
      streamSettings: outboundStreamSettings,
      proxySettings: notYetUnlessEmpty('chains of outbounds are not built yet'),
      mux: v.optional(mux),
    },
    ['targetStrategy'],
  ),
  v.transform(({ tag }) => ({ tag })),
)

/** The whole file. */
export const configSchema: v.GenericSchema<unknown, ConfigShape> = v.pipe(
  v.unknown(),
  strictObject({
    $schema: v.optional(v.string()),
    log: v.optional(log, {}),
    policy: v.optional(policy, {}),
    inbounds: list(inbound),
    outbounds: list(outbound),
    routing: notYetUnlessEmpty('routing rules are not built yet'),
    dns: notYetUnlessEmpty('the DNS module is not built yet'),
    api: notYetUnlessEmpty('the control API is not built yet'),
    stats: notYetUnlessEmpty('counters are not built yet'),
    transport: notYetUnlessEmpty('transport settings stand in "streamSettings"'),
    reverse: notYetUnlessEmpty('reverse proxying is not built yet'),
    fakedns: notYetUnlessEmpty('fake DNS is not built yet'),
    fakeDns: notYetUnlessEmpty('fake DNS is not built yet'),
    metrics: notYetUnlessEmpty('metrics are not built yet'),
    observatory: notYetUnlessEmpty('observing outbounds is not built yet'),
    burstObservatory: notYetUnlessEmpty('observing outbounds is not built yet'),
    version: notYetUnlessEmpty('versions of Xray mean nothing here'),
    geodata: notYetUnlessEmpty('routing rules are not built yet'),
  }),
)
