import { createHash, randomBytes } from 'node:crypto'
import http from 'node:http'
import {
  accessLine,
  type Engine,
  type FlowRecord,
  formatEndpoint,
  openLog,
  parseConfig,
  parsePort,
  start,
  type Terminal,
} from '../index.ts'
import { ExitCode } from './exit-code.ts'
import { stoppedBySignal, version } from './serve.ts'

const fileBytes = 16 * 1024 * 1024

const config = `{
  "inbounds": [{ "tag": "mixed", "protocol": "mixed", "listen": "127.0.0.1", "port": 1080, "settings": { "udp": true } }],
  "outbounds": [{ "tag": "direct", "protocol": "freedom" }]
}`

/** The program on loopback, on ports that are free, with a small origin to ask. */
export async function demo(isOnce: boolean, terminal: Terminal): Promise<number> {
  const file = randomBytes(fileBytes)
  const origin = await openOrigin(file)
  try {
    return isOnce
      ? await once(file, portOf(origin), terminal)
      : await stay(portOf(origin), terminal)
  } finally {
    origin.closeAllConnections()
    origin.close()
  }
}

/** `/` says hello, `/file` gives the file. */
function openOrigin(file: Uint8Array): Promise<http.Server> {
  const server = http.createServer((request, response) => {
    if (request.url === '/file') response.end(file)
    else response.end('Hello through Sluice.\n')
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      resolve(server)
    })
  })
}

function portOf(server: http.Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function startHere(onEvent: Parameters<typeof start>[1]): Promise<Engine> {
  const loaded = parseConfig('demo', config)
  const inbounds = loaded.config.inbounds.map(inbound => ({ ...inbound, port: parsePort(0) }))
  return start({ ...loaded.config, inbounds }, onEvent)
}

async function stay(originPort: number, terminal: Terminal): Promise<number> {
  const log = openLog(parseConfig('demo', config).config.log, { ...terminal, isForPeople: true })
  await using engine = await startHere({ onEvent: log.sink })
  const proxy = formatEndpoint(localOf(engine))
  terminal.write(
    [
      `sluice ${await version()} (node ${process.versions.node}), demo on loopback`,
      `  inbound   mixed  ${proxy}  (SOCKS 4, 4a, 5 and HTTP)`,
      '  outbound  direct',
      `Try it:  curl -x socks5h://${proxy} http://127.0.0.1:${String(originPort)}/`,
      `         curl -x http://${proxy} http://127.0.0.1:${String(originPort)}/file | sha256sum`,
      'Ctrl-C ends it; again ends it at once.',
      '',
    ].join('\n'),
  )
  const left = await stoppedBySignal(engine)
  return left === 0 ? ExitCode.right : ExitCode.failed
}

/** Sends the file through the proxy and compares what came out. */
async function once(file: Uint8Array, originPort: number, terminal: Terminal): Promise<number> {
  const records: FlowRecord[] = []
  await using engine = await startHere({
    onEvent: event => {
      if (event.kind === 'flow-ended') records.push(event.record)
    },
  })
  const { hash, size } = await fetchThrough(localOf(engine).port, originPort)
  const left = await engine.stop(drainMs)
  const isSame = hash === sha256(file) && size === file.length
  for (const record of records) terminal.write(`${accessLine(record)}\n`)
  terminal.write(`${String(size)} bytes, sha256 ${hash} ${isSame ? 'same' : 'NOT THE SAME'}\n`)
  terminal.write(`closed ${String(records.length)} connections, ${String(left)} left\n`)
  return isSame && left === 0 && records.length === 1 ? ExitCode.right : ExitCode.failed
}
const drainMs = 10_000

function localOf(engine: Engine): Engine['inbounds'][number]['local'] {
  const [inbound] = engine.inbounds
  if (inbound === undefined) throw new Error('the demo has one inbound')
  return inbound.local
}

/** Asks the origin for the file through a CONNECT tunnel of the proxy. */
function fetchThrough(
  proxyPort: number,
  originPort: number,
): Promise<{ readonly hash: string; readonly size: number }> {
  return new Promise((resolve, reject) => {
    const target = `127.0.0.1:${String(originPort)}`
    const ask = http.request({
      host: '127.0.0.1',
      port: proxyPort,
      method: 'CONNECT',
      path: target,
    })
    ask.once('error', reject)
    ask.once('connect', (_answer, socket) => {
      const get = http.get({ createConnection: () => socket, path: '/file' })
      get.once('error', reject)
      get.once('response', response => {
        const digest = createHash('sha256')
        let size = 0
        response.on('data', (bytes: Uint8Array) => {
          digest.update(bytes)
          size += bytes.length
        })
        response.once('error', reject)
        response.once('end', () => {
          resolve({ hash: digest.digest('hex'), size })
        })
      })
    })
    ask.end()
  })
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
