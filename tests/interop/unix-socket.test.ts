import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { SluiceError } from '../../src/index.ts'
import { Bench, said } from '../support/proxy-bench.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { curl, hasPeer } from '../support/proxy-peers.ts'
import { seenIn, webOrigin } from '../support/proxy-web.ts'

function socksConnect(port: number): string {
  return `\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01${String.fromCharCode(port >> 8, port & 255)}`
}

describe('an inbound on a UNIX socket', () => {
  it('serves curl, and its file goes when it stops', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const path = join(await bench.folder(), 'in.sock')
    const port = await bench.web(webOrigin('one'))
    const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: path }] })
    const url = `http://localhost:${String(port)}/x`
    const answer = await curl(['-x', `socks5h://localhost${path}`, url])
    assert.equal(answer.code, 0, answer.log)
    assert.equal(seenIn(answer.body).url, '/x')
    expectRecord(await proxy.ended(), {
      source: '@',
      target: `localhost:${String(port)}`,
      outbound: 'direct',
      reason: 'clean',
    })
    await proxy.rests()
    await proxy.stop()
    assert.equal(existsSync(path), false)
  })

  it('half-closes in both orders and refuses without UDP, as on TCP', async () => {
    await using bench = new Bench()
    const path = join(await bench.folder(), 'in.sock')
    const origin = await bench.origin()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'mixed', listen: path, settings: { udp: true } }],
    })
    for (const first of ['client', 'origin'] as const) {
      const client = await bench.client(path)
      client.send(socksConnect(origin.port))
      await client.read(12)
      const far = await origin.accepted()
      const [one, other] = first === 'client' ? [client, far] : [far, client]
      one.send('last words')
      one.end()
      assert.equal((await other.readAll()).toString(), 'last words')
      other.send('still heard')
      other.end()
      assert.equal((await one.readAll()).toString(), 'still heard')
      expectRecord(await proxy.ended(), { source: '@', reason: 'clean' })
    }
    const datagrams = await bench.client(path)
    datagrams.send('\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00')
    assert.equal((await datagrams.readAll()).toString('hex'), '050005070001000000000000')
    datagrams.end()
    expectRecord(await proxy.ended(), { reason: 'refused', code: 'socks.command-refused' })
  })

  it('listens on an abstract name', async () => {
    await using bench = new Bench()
    const name = `sluice-test-${String(process.pid)}`
    const origin = await bench.echo()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks', listen: `@${name}` }],
    })
    const client = await bench.client(`\0${name}`)
    client.send(`${socksConnect(origin.port)}hello`)
    assert.equal((await client.read(17)).subarray(12).toString(), 'hello')
    client.end()
    expectRecord(await proxy.ended(), { reason: 'clean', up: 5, down: 5 })
  })

  it('takes the source from a PROXY header', async () => {
    await using bench = new Bench()
    const path = join(await bench.folder(), 'in.sock')
    const origin = await bench.echo()
    const proxy = await bench.proxy({
      inbounds: [
        {
          tag: 'in',
          protocol: 'socks',
          listen: path,
          streamSettings: { sockopt: { acceptProxyProtocol: true } },
        },
      ],
    })
    const client = await bench.client(path)
    client.send(`PROXY TCP4 192.0.2.1 192.0.2.2 5000 1\r\n${socksConnect(origin.port)}`)
    await client.read(12)
    client.end()
    expectRecord(await proxy.ended(), { source: '192.0.2.1:5000', reason: 'clean' })
  })

  it('replaces the file of a process that was killed', async () => {
    await using bench = new Bench()
    const path = join(await bench.folder(), 'in.sock')
    const child = bench.script(import.meta.resolve('../support/proxy-unix.ts'), [path])
    await said(child, 'that it listens')
    const over = new Promise(resolve => child.once('close', resolve))
    child.kill('SIGKILL')
    await over
    assert.ok(statSync(path).isSocket(), 'the dead process has left its file')
    const origin = await bench.echo()
    await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: path }] })
    const client = await bench.client(path)
    client.send(socksConnect(origin.port))
    assert.equal((await client.read(4)).toString('hex'), '05000500')
  })

  it('leaves alone a file on which somebody listens', async () => {
    await using bench = new Bench()
    const path = join(await bench.folder(), 'in.sock')
    const other = await bench.origin(undefined, { path })
    await assert.rejects(
      bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: path }] }),
      (thrown: unknown) => thrown instanceof SluiceError && thrown.code === 'net.address-in-use',
    )
    const probe = await other.accepted()
    assert.equal(await probe.over, 'end')
    const client = await bench.client(path)
    client.send('x')
    assert.equal((await (await other.accepted()).read(1)).toString(), 'x')
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks', listen: `${path}2` }],
    })
    await assert.rejects(
      bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: `${path}2` }] }),
      (thrown: unknown) => thrown instanceof SluiceError && thrown.code === 'net.address-in-use',
    )
    const still = await bench.client(`${path}2`)
    still.send('\x05\x01\x00')
    assert.equal((await still.read(2)).toString('hex'), '0500')
    assert.equal(proxy.faults.length, 0)
  })

  it('never removes a file that is no socket', async () => {
    await using bench = new Bench()
    const folder = await bench.folder()
    const [file, link] = [join(folder, 'letters'), join(folder, 'link')]
    writeFileSync(file, 'precious')
    symlinkSync(file, link)
    for (const path of [file, link]) {
      await assert.rejects(
        bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: path }] }),
        (thrown: unknown) => thrown instanceof SluiceError && thrown.code === 'net.address-in-use',
      )
      assert.equal(readFileSync(path, 'utf8'), 'precious')
    }
  })

  it('says so when the folder is missing', async () => {
    await using bench = new Bench()
    const path = join(await bench.folder(), 'missing', 'in.sock')
    await assert.rejects(
      bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks', listen: path }] }),
      (thrown: unknown) => thrown instanceof SluiceError && thrown.code.startsWith('net.'),
    )
  })
})
