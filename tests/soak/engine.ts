import {
  type Engine,
  type EngineEvent,
  type Endpoint,
  parseConfig,
  parsePort,
  start,
} from '../../src/index.ts'
import { closedPort, type Doors, type Origin } from './ways.ts'

/** Where the tunnels lead: several addresses, each with ports of its own to dial from. */
const tunnels = ['127.0.1.1', '127.0.1.2', '127.0.1.3', '127.0.1.4'] as const

/** An engine with a door for every way to use it. */
export function open(
  origin: Origin,
  unix: string,
  patienceMs: number,
  onEvent: (event: EngineEvent) => void,
): Promise<Engine> {
  const { config } = parseConfig('soak', configText(origin, unix))
  // Port 0 lets the system choose, which a configuration cannot ask for.
  const inbounds = config.inbounds.map(inbound => ({ ...inbound, port: parsePort(0) }))
  return start(
    { ...config, inbounds },
    {
      onEvent,
      connectTimeoutMs: patienceMs / 2,
      policy: {
        handshakeMs: patienceMs / 2,
        connIdleMs: patienceMs,
        halfCloseIdleMs: patienceMs,
        writeStallMs: patienceMs,
      },
    },
  )
}

function configText(origin: Origin, unix: string): string {
  const tunnel = (tag: string, address: string, port: number, network = 'tcp'): object => ({
    tag,
    protocol: 'dokodemo-door',
    settings: { address, port, network },
  })
  const inbounds: object[] = [
    ...tunnels.map((address, at) => tunnel(`tunnel-${String(at)}`, address, origin.tcp)),
    tunnel('closed', '127.0.0.1', closedPort),
    tunnel('deaf', '127.0.0.1', origin.deaf),
    tunnel('udp', '127.0.0.1', origin.udp, 'udp'),
    {
      ...tunnel('proxied', '127.0.1.5', origin.tcp),
      streamSettings: { sockopt: { acceptProxyProtocol: true } },
    },
    { ...tunnel('unix', '127.0.1.6', origin.tcp), listen: unix },
    { tag: 'socks', protocol: 'socks', settings: { udp: true } },
    { tag: 'http', protocol: 'http' },
    { tag: 'mixed', protocol: 'mixed', settings: { udp: true } },
  ]
  return JSON.stringify({
    inbounds: inbounds.map((inbound, at) => ({ listen: '127.0.0.1', port: at + 1, ...inbound })),
    outbounds: [{ protocol: 'freedom' }],
  })
}

export function doorsOf(engine: Engine, unix: string): Doors {
  const port = (tag: string): Endpoint['port'] => {
    const inbound = engine.inbounds.find(one => one.tag === tag)
    if (inbound === undefined) throw new Error(`no inbound ${tag}`)
    return inbound.local.port
  }
  return {
    tunnels: tunnels.map((_, at) => port(`tunnel-${String(at)}`)),
    closed: port('closed'),
    deaf: port('deaf'),
    udp: port('udp'),
    socks: port('socks'),
    http: port('http'),
    mixed: port('mixed'),
    proxied: port('proxied'),
    unix,
  }
}
