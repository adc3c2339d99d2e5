import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Bench, type Proxy } from '../support/proxy-bench.ts'
import { curl } from '../support/proxy-peers.ts'
import { Association } from '../support/proxy-udp.ts'
import { becomes } from '../support/proxy-wait.ts'
import { bigBytes, bigSha, seenIn, sha256, webOrigin } from '../support/proxy-web.ts'

/** Another proxy, in front of Sluice or behind it. */
interface OtherProxy {
  readonly name: string
  /** The program, or null where it is not installed. */
  find(): { readonly path: string; readonly version: string } | null
  /** Whether a missing program is a failure on the machine that must have it. */
  readonly isRequired: boolean
  arguments(file: string): readonly string[]
  config(
    port: number,
    to: { readonly protocol: 'socks' | 'http'; readonly port: number } | null,
  ): object
}

const singBox: OtherProxy = {
  name: 'sing-box',
  isRequired: true,
  find: () => version('sing-box', ['version']),
  arguments: file => ['run', '-c', file],
  config: (port, to) => ({
    log: { level: 'error' },
    inbounds: [{ type: 'mixed', listen: '127.0.0.1', listen_port: port }],
    outbounds: [
      to === null
        ? { type: 'direct' }
        : { type: to.protocol, server: '127.0.0.1', server_port: to.port },
    ],
  }),
}

const xray: OtherProxy = {
  name: 'xray',
  isRequired: false,
  find: () => version(process.env['XRAY_BIN'] ?? 'xray', ['version']),
  arguments: file => ['run', '-c', file],
  config: (port, to) => ({
    log: { loglevel: 'error' },
    inbounds: [
      { protocol: 'mixed', listen: '127.0.0.1', port, settings: { udp: true, ip: '127.0.0.1' } },
    ],
    outbounds: [
      to === null
        ? { protocol: 'freedom' }
        : {
            protocol: to.protocol,
            settings: { servers: [{ address: '127.0.0.1', port: to.port }] },
          },
    ],
  }),
}

function version(path: string, args: string[]): { path: string; version: string } | null {
  try {
    const printed = execFileSync(path, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return { path, version: /\d+(?:\.\d+)+/.exec(printed)?.[0] ?? 'of unknown version' }
  } catch {
    return null
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  assert(typeof address === 'object' && address !== null)
  return address.port
}

/** Runs the other proxy with its outbound at `to`; null, and the test skipped, where it is missing. */
async function run(
  t: TestContext,
  bench: Bench,
  other: OtherProxy,
  to: { readonly protocol: 'socks' | 'http'; readonly port: number } | null,
): Promise<{ readonly port: number; readonly child: ChildProcess } | null> {
  const found = other.find()
  if (found === null) {
    assert(!other.isRequired || process.env['CI'] !== 'true', `${other.name} must be there`)
    t.skip(`no ${other.name} here`)
    return null
  }
  t.diagnostic(`peer: ${other.name} ${found.version}`)
  const port = await freePort()
  const file = join(await bench.folder(), 'config.json')
  await writeFile(file, JSON.stringify(other.config(port, to)))
  const child = spawn(found.path, other.arguments(file), { stdio: 'ignore' })
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  for (let tries = 0; !(await answers(port)); tries++) {
    assert(tries < 400 && child.exitCode === null, `${other.name} does not listen`)
    await setTimeout(25)
  }
  return { port, child }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = net.connect({ host: '127.0.0.1', port })
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => {
      resolve(false)
    })
  })
}

async function carriesFiles(proxyUrl: string, web: number): Promise<void> {
  const url = `http://127.0.0.1:${String(web)}`
  const down = await curl(['-p', '-x', proxyUrl, `${url}/big`])
  assert.equal(sha256(down.body), bigSha, down.log)
  const up = await curl(['-p', '-x', proxyUrl, '--data-binary', '@-', `${url}/up`], bigBytes)
  assert.equal(seenIn(up.body).sha, bigSha, up.log)
  const many = await Promise.all(
    Array.from({ length: 40 }, (_, at) => curl(['-x', proxyUrl, `${url}/${String(at)}`])),
  )
  assert.deepEqual(
    many.map(answer => seenIn(answer.body).url),
    many.map((_, at) => `/${String(at)}`),
  )
}

function cleanlyEnded(proxy: Proxy): Promise<boolean> {
  return becomes(() => proxy.engine.flows === 0)
}

for (const other of [singBox, xray]) {
  describe(`with ${other.name}`, () => {
    for (const protocol of ['socks', 'http'] as const) {
      it(`serves its ${protocol} outbound: files by hash, 40 at once`, async t => {
        await using bench = new Bench()
        const web = await bench.web(webOrigin('web'))
        const proxy = await bench.proxy({
          inbounds: [{ protocol: 'mixed', settings: { udp: true } }],
        })
        const peer = await run(t, bench, other, { protocol, port: proxy.port() })
        if (peer === null) return
        await carriesFiles(`http://127.0.0.1:${String(peer.port)}`, web)
        peer.child.kill('SIGKILL')
        assert(await cleanlyEnded(proxy), 'nothing is left when the peer is gone')
      })
    }

    it('serves its UDP through SOCKS5, several targets from one socket', async t => {
      await using bench = new Bench()
      const proxy = await bench.proxy({
        inbounds: [{ protocol: 'socks', settings: { udp: true } }],
      })
      const peer = await run(t, bench, other, { protocol: 'socks', port: proxy.port() })
      if (peer === null) return
      const echoes = await Promise.all(Array.from({ length: 4 }, () => bench.udp()))
      for (const echo of echoes) echo.echoes()
      const client = await Association.open(await bench.client(peer.port), await bench.udp())
      for (const echo of echoes) {
        await client.send('127.0.0.1', echo.port, `to ${echo.name}`)
        const answer = await client.next()
        assert.equal(answer.from, echo.name)
        assert.equal(answer.bytes.toString(), `to ${echo.name}`)
      }
      peer.child.kill('SIGKILL')
      assert(await cleanlyEnded(proxy))
    })

    it('is reached through a port forward of ours', async t => {
      await using bench = new Bench()
      const web = await bench.web(webOrigin('web'))
      const peer = await run(t, bench, other, null)
      if (peer === null) return
      const proxy = await bench.proxy({
        inbounds: [{ protocol: 'tunnel', settings: { address: '127.0.0.1', port: peer.port } }],
      })
      await carriesFiles(`socks5h://127.0.0.1:${String(proxy.port())}`, web)
    })
  })
}
