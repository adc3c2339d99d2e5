import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import * as v from 'valibot'
import type { Registry } from './config.ts'
import { type Diagnostic, diagnosticLine, diagnosticsOf, formatDiagnostics } from './diagnostics.ts'
import { limits } from './limits.ts'
import { type LoadedConfig, loadConfigFile, loadConfigText } from './load.ts'
import { oneOf, portOrText, strictObject } from './schema.ts'

const registry: Registry = {
  inbounds: [
    {
      type: 'echo',
      aliases: ['mirror'],
      options: strictObject({
        auth: v.optional(oneOf(['noauth', 'password'])),
        udp: v.optional(v.boolean(), false),
      }),
    },
    { type: 'relay', options: strictObject({ port: portOrText() }) },
  ],
  outbounds: [{ type: 'direct', options: strictObject({}) }],
}

function load(text: string): LoadedConfig {
  return loadConfigText('config.json', text, registry)
}

/** The diagnostics of a text, warnings included, whether it was refused or not. */
function diagnosticsFor(text: string): readonly Diagnostic[] {
  try {
    return load(text).warnings
  } catch (thrown) {
    const diagnostics = diagnosticsOf(thrown)
    if (diagnostics.length === 0) throw thrown
    return diagnostics
  }
}

function linesFor(text: string): readonly string[] {
  return diagnosticsFor(text).map(diagnosticLine)
}

/** A configuration that is right, with these fields on line 2 of its only inbound. */
function withInbound(fields: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo",\n${fields}\n}]}`
}

/** A configuration that is right, with these top-level keys on line 2. */
function withTop(keys: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo", "port": 1}],\n${keys}\n}`
}

test('the smallest configuration gets every default', () => {
  const text =
    '{"inbounds": [{"protocol": "echo", "port": 1080}], "outbounds": [{"protocol": "direct"}]}'
  assert.deepEqual(load(text), {
    config: {
      log: { level: 'warning', access: { kind: 'console' }, error: { kind: 'console' } },
      policy: {
        handshakeMs: 10_000,
        connIdleMs: 300_000,
        uplinkOnlyMs: undefined,
        downlinkOnlyMs: undefined,
        halfCloseIdleMs: 120_000,
      },
      inbounds: [
        {
          tag: 'echo-1',
          type: 'echo',
          listen: '0.0.0.0',
          port: 1080,
          acceptProxyProtocol: false,
          options: { udp: false },
        },
      ],
      outbounds: [{ tag: 'direct-1', type: 'direct', options: {} }],
    },
    warnings: [],
  })
})

test('a configuration as panels write it is read whole', () => {
  const { config, warnings } = load(`{
    "$schema": "https://example.org/schema.json",
    "log": { "loglevel": "Info", "access": "none", "error": "/var/log/x", "dnsLog": false, "maskAddress": "" },
    "dns": null, "transport": null, "stats": {},
    "policy": {
      "levels": { "0": { "handshake": 4, "connIdle": 60, "uplinkOnly": 0, "downlinkOnly": 5,
                         "halfCloseIdle": 30, "statsUserUplink": false } },
      "system": { "statsInboundUplink": false }
    },
    "inbounds": [
      { "tag": "in", "listen": "[::1]", "port": "1080", "protocol": "MIRROR", "settings": { "auth": "noauth" },
        "streamSettings": { "network": "TCP", "security": "none", "tcpSettings": { "header": { "type": "none" } },
                            "sockopt": { "acceptProxyProtocol": true } },
        "sniffing": { "enabled": false, "destOverride": ["http", "tls"] }, "allocate": { "strategy": "always" } },
      { "tag": "", "listen": "/run/x.sock", "protocol": "echo", "settings": null },
      { "listen": "@x", "port": 0, "protocol": "echo",
        "streamSettings": { "network": "raw", "security": "", "rawSettings": { "acceptProxyProtocol": true } } },
      { "tag": "echo-2", "port": 2, "listen": "localhost", "protocol": "echo" },
    ],
    "outbounds": [
      { "tag": "out", "protocol": "direct", "settings": {}, "sendThrough": "0.0.0.0",
        "mux": { "enabled": false, "concurrency": -1 }, "streamSettings": {} },
    ],
  }`)
  assert.deepEqual(config.log, {
    level: 'info',
    access: { kind: 'off' },
    error: { kind: 'file', path: '/var/log/x' },
  })
  assert.deepEqual(config.policy, {
    handshakeMs: 4_000,
    connIdleMs: 60_000,
    uplinkOnlyMs: 0,
    downlinkOnlyMs: 5_000,
    halfCloseIdleMs: 30_000,
  })
  const shown = config.inbounds.map(one => [
    one.tag,
    one.type,
    one.listen,
    one.port,
    one.acceptProxyProtocol,
  ])
  assert.deepEqual(shown, [
    ['in', 'echo', '::1', 1080, true],
    ['echo-2-', 'echo', '/run/x.sock', 0, false],
    ['echo-3', 'echo', '@x', 0, true],
    ['echo-2', 'echo', '127.0.0.1', 2, false],
  ])
  assert.deepEqual(config.inbounds[0]?.options, { auth: 'noauth', udp: false })
  assert.deepEqual(config.outbounds, [{ tag: 'out', type: 'direct', options: {} }])
  assert.deepEqual(warnings.map(diagnosticLine), [
    'config.json:4:37 warning: "stats" has no effect in this version of Sluice',
  ])
})

test('the same port on different addresses, and on a path, is no clash', () => {
  const text = withInbound(
    '"port": 1, "listen": "127.0.0.1"}, {"protocol": "echo", "port": 1, "listen": "127.0.0.2"},' +
      '{"protocol": "echo", "port": 1, "listen": "/run/a"}, {"protocol": "echo", "port": 2',
  )
  assert.equal(load(text).config.inbounds.length, 4)
})

test('a wrong configuration throws one error of the configuration', () => {
  assert.throws(
    () => load('{}'),
    thrown => {
      assert.equal(diagnosticsOf(thrown).length, 2)
      return thrown instanceof Error && 'code' in thrown && thrown.code === 'config.invalid'
    },
  )
})

test('CR LF, tabs and characters of any width keep every place right', () => {
  const text =
    '{\r\n\t"outbounds": [{"protocol": "direct"}],\r\n\t/* \u{1f600} */ "inbounds": [{ "tag": "端口", "port": 1, "prtocol": "echo" }]\r\n}'
  assert.equal(
    formatDiagnostics(diagnosticsFor(text)),
    [
      'config.json:3:49 unknown key "prtocol", did you mean "protocol"?',
      '   /* \u{1f600} */ "inbounds": [{ "tag": "端口", "port": 1, "prtocol": "echo" }]',
      `${' '.repeat(53)}^`,
    ].join('\n'),
  )
})

test('a million levels of nesting in a known key are refused', () => {
  const text = withTop(`"routing": ${'{"a":'.repeat(1_000_000)}`)
  assert.match(
    linesFor(text).join(),
    /^config\.json:2:\d+ objects and lists are nested deeper than 64 levels here$/,
  )
})

test('no key of a configuration reaches a prototype', () => {
  linesFor(withTop('"__proto__": {"polluted": true}'))
  linesFor(withInbound('"port": 1, "settings": {"__proto__": {"polluted": true}}'))
  linesFor(withTop('"policy": {"levels": {"__proto__": {"polluted": true}, "constructor": {}}}'))
  assert.equal('polluted' in {}, false)
})

const known = [
  'inbounds',
  'outbounds',
  'protocol',
  'port',
  'listen',
  'tag',
  'settings',
  'policy',
  'levels',
]
const others = [
  'log',
  'streamSettings',
  'sockopt',
  'routing',
  'sniffing',
  'enabled',
  '0',
  '__proto__',
  'prot',
]
const words = [
  'echo',
  'direct',
  'relay',
  'tcp',
  '1080',
  '1-2',
  '::1',
  '/a',
  '@',
  '',
  '\ud800',
  '\u0000',
]

test('random values under known keys give diagnostics or a configuration, never another error', () => {
  const value = fc.letrec(tie => ({
    any: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, true, false, 0, 1, 1080, -1, 1.5, 1e300, ...words),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...known, ...others), tie('any'), { maxKeys: 5 }),
    ),
  })).any
  fc.assert(
    fc.property(value, fc.array(value, { maxLength: 3 }), (top, entries) => {
      for (const one of [top, { inbounds: entries, outbounds: entries }]) checkPlaces(one)
    }),
    { numRuns: 1_000 },
  )
})

test('random JSON gives diagnostics', () => {
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      checkPlaces(value)
    }),
  )
})

/** Every diagnostic stands inside the text and in file order. */
function checkPlaces(value: unknown): void {
  const text = JSON.stringify(value, null, 1)
  const lines = text.split('\n')
  let last = 0
  for (const one of diagnosticsFor(text)) {
    assert.ok(one.line >= last && one.line <= lines.length)
    assert.ok(one.column >= 1 && one.column <= (lines[one.line - 1] ?? '').length + 1)
    assert.doesNotMatch(one.message, /undefined|\[object|Invalid|Expected|Array|Object\b/)
    last = one.line
  }
}

test('what is told of one file is told of the next one the same way', () => {
  const text = withInbound('"port": 0, "settings": {"udp": 1}')
  assert.deepEqual(linesFor(text), linesFor(text))
})

test('files that cannot be read are told with their reason', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-config-'))
  t.after(() => rm(folder, { recursive: true }))
  const tell = async (name: string, bytes?: Uint8Array | string): Promise<readonly string[]> => {
    const path = join(folder, name)
    if (bytes !== undefined) await writeFile(path, bytes)
    const thrown: unknown = await loadConfigFile(path, registry).catch((error: unknown) => error)
    return diagnosticsOf(thrown).map(one => diagnosticLine(one).replace(folder, ''))
  }
  assert.deepEqual(await tell('none.json'), ['/none.json there is no such file'])
  assert.deepEqual(await tell(''), [' this is a directory, not a file'])
  assert.deepEqual(await tell('a\0b'), [
    '/a\ufffdb this file cannot be read (ERR_INVALID_ARG_VALUE)',
  ])
  assert.deepEqual(await tell('utf16.json', new Uint8Array([0xff, 0xfe, 0x7b, 0])), [
    '/utf16.json this file is UTF-16, it must be saved as UTF-8',
  ])
  assert.deepEqual(await tell('latin1.json', new Uint8Array([0x7b, 0x0a, 0x22, 0xe9, 0x22])), [
    '/latin1.json:2:2 this file is not UTF-8 from here on',
  ])
  assert.deepEqual(await tell('large.json', new Uint8Array(limits.bytesMax + 1).fill(32)), [
    '/large.json the configuration is larger than 16 MiB',
  ])
  assert.deepEqual(
    await tell('wrong.json', '{"inbounds": 1, "outbounds": [{"protocol": "direct"}]}'),
    ['/wrong.json:1:14 "inbounds" must be a list, found 1'],
  )
})

test('a file is read like a text, a byte order mark included', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-config-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'config.json')
  const text = withInbound('"port": 1')
  await writeFile(path, `\ufeff${text}`)
  assert.deepEqual(await loadConfigFile(path, registry), loadConfigText(path, text, registry))
})
