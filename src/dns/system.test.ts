import assert from 'node:assert/strict'
import dgram from 'node:dgram'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import packet, { type Answer } from 'dns-packet'
import { SystemClock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import { clean, Program, Scope } from '../core/scope.ts'
import { parseHosts, SystemResolver } from './system.ts'

type Zone = Readonly<Record<string, readonly Answer[]>>

/** A DNS server for one test; counts questions by `TYPE name`. */
async function nameServer(t: TestContext, zone: Zone): Promise<{ at: string; asked: string[] }> {
  const asked: string[] = []
  const socket = dgram.createSocket('udp4')
  socket.on('message', (bytes, from) => {
    const query = packet.decode(bytes)
    const [question] = query.questions ?? []
    if (question === undefined) return
    const key = `${question.type} ${question.name}`
    asked.push(key)
    const answers = zone[key]
    if (answers?.length === 0) return
    const isKnown = Object.keys(zone).some(known => known.endsWith(` ${question.name}`))
    const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | (isKnown ? 0 : 3)
    const reply = { id: query.id ?? 0, flags, questions: [question] }
    socket.send(
      packet.encode({ ...reply, type: 'response', answers: [...(answers ?? [])] }),
      from.port,
      from.address,
    )
  })
  await new Promise<void>(resolve => {
    socket.bind(0, '127.0.0.1', resolve)
  })
  t.after(() => {
    socket.close()
  })
  return { at: `127.0.0.1:${String(socket.address().port)}`, asked }
}

function bed(): { readonly root: Scope } {
  return { root: Scope.root(new Program(new SystemClock()), 'names') }
}

const four = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, data, ttl })
const six = (name: string, data: string, ttl = 60): Answer => ({ type: 'AAAA', name, data, ttl })

describe('names', () => {
  it('are asked for in both families at once, and kept for their lifetime', async t => {
    const server = await nameServer(t, {
      'A a.test': [four('a.test', '192.0.2.1')],
      'AAAA a.test': [six('a.test', '2001:db8::1')],
    })
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: [server.at], hostsPath: '/nonexistent' })
    assert.deepEqual(await resolver.resolve(root, 'a.test'), ['2001:db8::1', '192.0.2.1'])
    assert.deepEqual(await resolver.resolve(root, 'a.test'), ['2001:db8::1', '192.0.2.1'])
    assert.deepEqual([...server.asked].sort(), ['A a.test', 'AAAA a.test'])
    assert.equal(root.isEmpty, true, 'no lookup is left')
    await root.end(clean)
  })

  it('are asked for once, however many want them', async t => {
    const server = await nameServer(t, { 'A many.test': [four('many.test', '192.0.2.1')] })
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: [server.at], hostsPath: '/nonexistent' })
    const all = Array.from({ length: 50 }, () => resolver.resolve(root, 'many.test'))
    for (const addresses of await Promise.all(all)) assert.deepEqual(addresses, ['192.0.2.1'])
    assert.equal(server.asked.length, 2)
    await root.end(clean)
  })

  it('do not wait for a family that never answers', async t => {
    const server = await nameServer(t, {
      'A half.test': [four('half.test', '192.0.2.7')],
      'AAAA half.test': [],
    })
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: [server.at], hostsPath: '/nonexistent' })
    const startMs = performance.now()
    assert.deepEqual(await resolver.resolve(root, 'half.test'), ['192.0.2.7'])
    assert(performance.now() - startMs < 500, 'ten times what the other family is awaited')
    await root.end(clean)
  })

  it('without an address are told apart from servers that fail', async t => {
    const server = await nameServer(t, {})
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: [server.at], hostsPath: '/nonexistent' })
    await assert.rejects(
      resolver.resolve(root, 'nobody.test'),
      (thrown: SluiceError) => thrown.code === 'net.no-address' && thrown.call === 'resolve',
    )
    await root.end(clean)
  })

  it('are given up when the program ends', async t => {
    const server = await nameServer(t, { 'A slow.test': [], 'AAAA slow.test': [] })
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: [server.at], hostsPath: '/nonexistent' })
    const asked = assert.rejects(resolver.resolve(root, 'slow.test'))
    await new Promise(resolve => {
      setImmediate(resolve)
    })
    await root.end(clean)
    await asked
  })

  it('of the hosts file come first, and this machine is always known', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-hosts-'))
    const hostsPath = join(folder, 'hosts')
    await writeFile(hostsPath, '192.0.2.5 mine Mine.Test # me\n')
    const { root } = bed()
    const resolver = new SystemResolver(root, { servers: ['127.0.0.1:1'], hostsPath })
    assert.deepEqual(await resolver.resolve(root, 'mine.test'), ['192.0.2.5'])
    assert.deepEqual(await resolver.resolve(root, 'localhost'), ['127.0.0.1', '::1'])
    assert.deepEqual(await resolver.resolve(root, 'x.localhost'), ['127.0.0.1', '::1'])
    await root.end(clean)
    await rm(folder, { recursive: true })
  })
})

it('reads a hosts file, IPv4 first, and nothing of a line that is none', () => {
  const hosts = parseHosts('::1 localhost\n127.0.0.1\tlocalhost a\n# 1.1.1.1 b\nnonsense c\n\n')
  assert.deepEqual(
    [...hosts],
    [
      ['localhost', ['127.0.0.1', '::1']],
      ['a', ['127.0.0.1']],
    ],
  )
})
