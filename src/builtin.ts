import type { Protocols } from './contract/protocols.ts'
import { blackholeOutbound } from './protocol/blackhole/outbound.ts'
import { freedomOutbound } from './protocol/freedom/outbound.ts'
import { httpInbound } from './protocol/http/inbound.ts'
import { mixedInbound } from './protocol/mixed/inbound.ts'
import { socksInbound } from './protocol/socks/inbound.ts'
import { tunnelInbound } from './protocol/tunnel/inbound.ts'
import { raw } from './transport/raw/raw.ts'

/** Everything shipped; the only file that knows all protocols. A new one is one line here. */
export const builtin: Protocols = {
  inbounds: [socksInbound, httpInbound, mixedInbound(socksInbound, httpInbound), tunnelInbound],
  outbounds: [freedomOutbound, blackholeOutbound],
  transports: [raw],
}

/** Known to Xray and not built here yet: refused by name. */
export const notYet: readonly string[] = [
  'vless',
  'vmess',
  'trojan',
  'shadowsocks',
  'wireguard',
  'hysteria',
  'tun',
  'dns',
  'loopback',
]
