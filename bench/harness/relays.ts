import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child, findProgram, freePort } from './child.ts'

/** What a relay does: everything to one target, or where a SOCKS5 client wants. */
export type Mode = 'forward' | 'socks'

export interface Place {
  readonly mode: Mode
  readonly port: number
  /** `host:port` of the origin. */
  readonly origin: string
  /** A folder for files of the measurement. */
  readonly folder: string
  /** Node's own options for Sluice, `--cpu-prof` and the like. */
  readonly nodeOptions: readonly string[]
}

/** A program that can be measured. */
export interface Relay {
  readonly name: string
  readonly version: string
  readonly modes: readonly Mode[]
  command(place: Place): readonly string[]
}

export interface Relays {
  readonly present: readonly Relay[]
  readonly absent: readonly string[]
}

/** A relay that runs, and the port it listens on. */
export interface Running {
  readonly relay: Relay
  readonly child: Child
  readonly address: string
}

export async function run(relay: Relay, place: Omit<Place, 'port'>): Promise<Running> {
  const port = await freePort()
  const child = Child.start(relay.name, relay.command({ ...place, port }))
  try {
    await child.listens(port)
  } catch (thrown) {
    await child.stop()
    throw thrown
  }
  return { relay, child, address: `127.0.0.1:${String(port)}` }
}

/** Sluice, and those of its peers that are on this machine; what needs a compiler is built into `folder`. */
export function findRelays(folder: string): Relays {
  const found = [sluice(), xray(), singBox(), haproxy(), goCopy(folder), nodePipe()]
  return {
    present: found.filter(one => typeof one !== 'string'),
    absent: found.filter(one => typeof one === 'string'),
  }
}

function sluice(): Relay {
  return {
    name: 'sluice',
    version: `on Node ${process.versions.node}`,
    modes: ['forward', 'socks'],
    command: place => [
      process.execPath,
      ...place.nodeOptions,
      fileURLToPath(new URL('../peers/sluice.ts', import.meta.url)),
      xrayConfig(place, 'sluice'),
    ],
  }
}

function xray(): Relay | string {
  const file = process.env['XRAY_BIN'] ?? findProgram('xray')
  if (file === null || file === '') return 'Xray: neither XRAY_BIN nor xray on PATH'
  return {
    name: 'Xray',
    version: versionOf(file, ['version'], /^Xray (\S+)/),
    modes: ['forward', 'socks'],
    command: place => [file, 'run', '-c', xrayConfig(place, 'xray')],
  }
}

/** One file for both: Sluice reads the names of Xray. */
function xrayConfig(place: Place, name: string): string {
  const { host, port } = partsOf(place.origin)
  const inbound =
    place.mode === 'forward'
      ? { protocol: 'dokodemo-door', settings: { address: host, port, network: 'tcp' } }
      : { protocol: 'socks', settings: { auth: 'noauth', udp: false } }
  return written(place, `${name}.json`, {
    log: { loglevel: 'none', access: 'none' },
    inbounds: [{ listen: '127.0.0.1', port: place.port, ...inbound }],
    outbounds: [{ protocol: 'freedom' }],
  })
}

function singBox(): Relay | string {
  const file = findProgram('sing-box')
  if (file === null) return 'sing-box: not on PATH'
  return {
    name: 'sing-box',
    version: versionOf(file, ['version'], /version (\S+)/),
    modes: ['forward', 'socks'],
    command: place => {
      const { host, port } = partsOf(place.origin)
      const inbound =
        place.mode === 'forward'
          ? { type: 'direct', network: 'tcp', override_address: host, override_port: port }
          : { type: 'socks' }
      const config = {
        log: { disabled: true },
        inbounds: [{ ...inbound, listen: '127.0.0.1', listen_port: place.port }],
        outbounds: [{ type: 'direct' }],
      }
      return [file, 'run', '-c', written(place, 'sing-box.json', config)]
    },
  }
}

function haproxy(): Relay | string {
  const file = findProgram('haproxy')
  if (file === null) return 'HAProxy: not on PATH'
  return {
    name: 'HAProxy',
    version: versionOf(file, ['-v'], /version ([\d.]+)/),
    modes: ['forward'],
    command: place => {
      const path = join(place.folder, `haproxy-${String(place.port)}.cfg`)
      writeFileSync(path, haproxyConfig(place))
      return [file, '-db', '-f', path]
    },
  }
}

function haproxyConfig(place: Place): string {
  return `global
  nbthread 1
  maxconn 3000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen forward
  bind 127.0.0.1:${String(place.port)}
  server origin ${place.origin}
`
}

function goCopy(folder: string): Relay | string {
  const file = buildGo(
    folder,
    'go-copy',
    fileURLToPath(new URL('../peers/go-copy/main.go', import.meta.url)),
  )
  if (file === null) return 'Go io.Copy: no go on PATH'
  return {
    name: 'Go io.Copy',
    version: versionOf('go', ['version'], /go(\d\S*)/),
    modes: ['forward'],
    command: place => [file, `127.0.0.1:${String(place.port)}`, place.origin],
  }
}

function nodePipe(): Relay {
  return {
    name: 'Node pipe()',
    version: process.versions.node,
    modes: ['forward'],
    command: ({ port, origin }) => {
      const to = partsOf(origin)
      return [
        process.execPath,
        fileURLToPath(new URL('../peers/pipe.ts', import.meta.url)),
        String(port),
        to.host,
        String(to.port),
      ]
    },
  }
}

/** The load generator: in Go where that is there, for it must not be what limits. */
export function loadCommand(folder: string): readonly string[] {
  const file = buildGo(folder, 'load', fileURLToPath(new URL('../load/main.go', import.meta.url)))
  return file === null
    ? [process.execPath, fileURLToPath(new URL('../load/load.ts', import.meta.url))]
    : [file]
}

/** Builds one file of Go; null where there is no Go. */
function buildGo(folder: string, name: string, source: string): string | null {
  const go = findProgram('go')
  if (go === null) return null
  const file = join(folder, name)
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '' }
  execFileSync(go, ['build', '-o', file, source], { env, stdio: ['ignore', 'inherit', 'inherit'] })
  return file
}

function versionOf(file: string, args: readonly string[], pattern: RegExp): string {
  try {
    return pattern.exec(execFileSync(file, args, { encoding: 'utf8' }))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

function written(place: Place, name: string, config: unknown): string {
  const path = join(place.folder, `${String(place.port)}-${name}`)
  writeFileSync(path, JSON.stringify(config))
  return path
}

function partsOf(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) }
}
