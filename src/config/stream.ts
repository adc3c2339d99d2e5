import * as v from 'valibot'
import { offOnly, oneOf, strictObject } from './schema.ts'
import type { Remarked } from './strict-object.ts'

export interface StreamShape {
  readonly acceptProxyProtocol: boolean
}

const rawSettings = strictObject({
  acceptProxyProtocol: v.optional(v.boolean(), false),
  // Every panel writes this; "none" is what it says.
  header: v.optional(strictObject({ type: oneOf(['none'], { notYet: ['http'] }) })),
})

const sockopt = strictObject({ acceptProxyProtocol: v.optional(v.boolean(), false) }, [
  'addressPortStrategy',
  'customSockopt',
  'dialerProxy',
  'domainStrategy',
  'happyEyeballs',
  'interface',
  'mark',
  'penetrate',
  'tcpCongestion',
  'tcpFastOpen',
  'tcpKeepAliveIdle',
  'tcpKeepAliveInterval',
  'tcpMaxSeg',
  'tcpMptcp',
  'tcpNoDelay',
  'tcpUserTimeout',
  'tcpWindowClamp',
  'tproxy',
  'trustedXForwardedFor',
  'v6only',
])

const network = oneOf(['tcp', 'raw'], {
  anyCase: true,
  notYet: [
    'grpc',
    'gun',
    'h2',
    'h3',
    'http',
    'httpupgrade',
    'hysteria',
    'kcp',
    'mkcp',
    'quic',
    'splithttp',
    'websocket',
    'ws',
    'xhttp',
  ],
})

const security = oneOf(['none', ''], { anyCase: true, notYet: ['tls', 'reality', 'xtls'] })

const keys = strictObject(
  {
    network: v.optional(network),
    security: v.optional(security),
    sockopt: v.optional(sockopt),
    tcpSettings: v.optional(rawSettings),
    rawSettings: v.optional(rawSettings),
  },
  [
    'address',
    'finalmask',
    'grpcSettings',
    'httpSettings',
    'httpupgradeSettings',
    'hysteriaSettings',
    'kcpSettings',
    'method',
    'port',
    'quicSettings',
    'realitySettings',
    'splithttpSettings',
    'tlsSettings',
    'wsSettings',
    'xhttpSettings',
    'xtlsSettings',
  ],
)

/** `streamSettings` as far as plain TCP goes. */
export const streamSettings: v.GenericSchema<unknown, StreamShape> = v.pipe(
  v.unknown(),
  keys,
  v.transform(({ sockopt, tcpSettings, rawSettings }) => ({
    acceptProxyProtocol: [sockopt, tcpSettings, rawSettings].some(
      one => one?.acceptProxyProtocol === true,
    ),
  })),
)

/** An outbound accepts nothing, so it is told that it asks for something there. */
export const outboundStreamSettings: v.OptionalSchema<typeof streamSettings, undefined> & Remarked =
  Object.assign(v.optional(streamSettings), {
    remark: (value: unknown) =>
      v.parse(streamSettings, value).acceptProxyProtocol
        ? 'has an "acceptProxyProtocol", which has no effect on an outbound'
        : null,
  })

/** `sniffing`, only switched off; its other keys then mean nothing. */
export const sniffing: v.GenericSchema<unknown, unknown> = v.pipe(
  v.unknown(),
  strictObject({
    enabled: v.optional(offOnly('sniffing')),
    destOverride: v.optional(v.unknown()),
    domainsExcluded: v.optional(v.unknown()),
    ipsExcluded: v.optional(v.unknown()),
    metadataOnly: v.optional(v.unknown()),
    routeOnly: v.optional(v.unknown()),
  }),
)

/** `mux`, only switched off. */
export const mux: v.GenericSchema<unknown, unknown> = v.pipe(
  v.unknown(),
  strictObject({
    enabled: v.optional(offOnly('mux')),
    concurrency: v.optional(v.unknown()),
    xudpConcurrency: v.optional(v.unknown()),
    xudpProxyUDP443: v.optional(v.unknown()),
  }),
)

/** `allocate`, only with the strategy that is no strategy. */
export const allocate: v.GenericSchema<unknown, unknown> = v.pipe(
  v.unknown(),
  strictObject({
    strategy: v.optional(oneOf(['always'], { notYet: ['random', 'external'] })),
    refresh: v.optional(v.unknown()),
    concurrency: v.optional(v.unknown()),
  }),
)
