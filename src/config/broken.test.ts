import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import type { Registry } from './config.ts'
import { diagnosticLine, diagnosticsOf } from './diagnostics.ts'
import { host } from './hosts.ts'
import { loadConfigText } from './load.ts'
import { list, oneOf, portOrText, strictObject } from './schema.ts'

/** Protocols that exist nowhere else, so that these tests say nothing about real ones. */
const registry: Registry = {
  inbounds: [
    {
      type: 'echo',
      aliases: ['mirror'],
      options: strictObject({
        auth: v.optional(oneOf(['noauth', 'password'])),
        users: v.optional(
          list(strictObject({ user: v.string(), pass: v.string('must be text') }), 3),
        ),
        udp: v.optional(v.boolean(), false),
        timeout: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(9))),
      }),
    },
    {
      type: 'relay',
      options: strictObject({ address: host(), port: portOrText() }),
    },
  ],
  outbounds: [{ type: 'direct', options: strictObject({}) }],
  notYet: ['later'],
}

function linesFor(text: string): readonly string[] {
  try {
    return loadConfigText('config.json', text, registry).warnings.map(diagnosticLine)
  } catch (thrown) {
    return diagnosticsOf(thrown).map(diagnosticLine)
  }
}

/** A configuration that is right, with these fields on line 2 of its only inbound. */
function withInbound(fields: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo",\n${fields}\n}]}`
}

/** A configuration that is right, with these top-level keys on line 2. */
function withTop(keys: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo", "port": 1}],\n${keys}\n}`
}

const at = 'config.json:'
const later = 'is not supported by this version of Sluice'
const idle = 'has no effect in this version of Sluice'

/** What is broken, the text, and every line the loader says about it. */
const broken: readonly (readonly [name: string, text: string, ...lines: readonly string[]])[] = [
  // Keys
  [
    'a key twice',
    withTop('"log": {},\n"log": {}'),
    `${at}3:1 the key "log" stands here again, first on line 2`,
  ],
  [
    'a key twice by escape',
    withTop('"log": {}, "l\\u006fg": {}'),
    `${at}2:12 the key "log" stands here again, first on line 2`,
  ],
  ['__proto__', withTop('"__proto__": {"isAdmin": true}'), `${at}2:1 unknown key "__proto__"`],
  [
    'constructor and prototype',
    withInbound('"port": 1, "settings": {"constructor": {"prototype": {}}}'),
    `${at}2:25 unknown key "constructor"`,
  ],
  [
    'a misspelt key',
    withInbound('"port": 1, "setings": {}'),
    `${at}2:12 unknown key "setings", did you mean "settings"?`,
  ],
  [
    'a key in another case',
    withInbound('"port": 1, "STREAMSETTINGS": {}'),
    `${at}2:12 unknown key "STREAMSETTINGS", did you mean "streamSettings"?`,
  ],
  ['a key like no other', withTop('"_comment": "hello"'), `${at}2:1 unknown key "_comment"`],
  [
    'a misspelt key that is needed',
    withInbound('"prt": 1080'),
    `${at}2:1 unknown key "prt", did you mean "port"?`,
  ],
  ['a missing port', withInbound('"tag": "a"'), `${at}1:54 missing key "port"`],
  ['nothing at all', '{}', `${at}1:1 missing key "inbounds"`, `${at}1:1 missing key "outbounds"`],
  [
    'empty lists',
    '{"inbounds": [],\n "outbounds": []}',
    `${at}1:14 "inbounds" is empty, at least one inbound is needed`,
    `${at}2:15 "outbounds" is empty, at least one outbound is needed`,
  ],
  [
    'a list as configuration',
    '[]',
    `${at}1:1 the configuration must be an object, found an empty list`,
  ],
  // Values
  [
    'a word as port',
    withInbound('"port": "abc"'),
    `${at}2:9 "port" must be a number from 1 to 65535, found "abc"`,
  ],
  [
    'a port too large',
    withInbound('"port": 65536'),
    `${at}2:9 "port" must be a number from 1 to 65535, found 65536`,
  ],
  [
    'half a port',
    withInbound('"port": 80.5'),
    `${at}2:9 "port" must be a number from 1 to 65535, found 80.5`,
  ],
  [
    'a range of ports',
    withInbound('"port": "1000-1010"'),
    `${at}2:9 "port" is a range or list of ports, which ${later}`,
  ],
  [
    'a name as listen address',
    withInbound('"port": 1, "listen": "example.org"'),
    `${at}2:22 "listen" must be an IP address or the path of a UNIX socket, found "example.org"`,
  ],
  [
    'a socket path with a mode',
    withInbound('"listen": "/run/a.sock,0666"'),
    `${at}2:11 "listen" must be an IP address or the path of a UNIX socket, found "/run/a.sock,0666"`,
  ],
  [
    'a list where an object belongs',
    withInbound('"port": 1, "settings": []'),
    `${at}2:24 "settings" must be an object, found an empty list`,
  ],
  [
    'an object where a list belongs',
    withTop('"log": {"loglevel": {}}'),
    `${at}2:21 "loglevel" must be text, found an object`,
  ],
  [
    'no objects in a list',
    '{"outbounds": [{"protocol": "direct"}], "inbounds": [7, null]}',
    `${at}1:54 "inbounds[0]" must be an object, found 7`,
    `${at}1:57 "inbounds[1]" must be an object, found null`,
  ],
  [
    'a level of the log',
    withTop('"log": {"loglevel": "wraning"}'),
    `${at}2:21 "loglevel" must be one of "debug", "info", "warning", "error", "none", found "wraning", did you mean "warning"?`,
  ],
  [
    'zero seconds',
    withTop('"policy": {"levels": {"0": {"handshake": 0}}}'),
    `${at}2:42 "handshake" must be a whole number of seconds from 1 to 2147483, found 0`,
  ],
  [
    'seconds as text',
    withTop('"policy": {"levels": {"0": {"connIdle": "300"}}}'),
    `${at}2:41 "connIdle" must be a whole number of seconds from 1 to 2147483, found "300"`,
  ],
  [
    'a level that is no number',
    withTop('"policy": {"levels": {"zero": {}}}'),
    `${at}2:23 "zero" must be the number of a level, like "0"`,
  ],
  [
    'text as switch',
    withInbound('"port": 1, "settings": {"udp": "true"}'),
    `${at}2:32 "udp" must be true or false, found "true"`,
  ],
  [
    'a number out of bounds',
    withInbound('"port": 1, "settings": {"timeout": 10}'),
    `${at}2:36 "timeout" must be 9 or less, found 10`,
  ],
  [
    'a choice',
    withInbound('"port": 1, "settings": {"auth": "Password"}'),
    `${at}2:33 "auth" must be one of "noauth", "password", found "Password", did you mean "password"?`,
  ],
  [
    'a secret is not repeated',
    withInbound('"port": 1, "settings": {"users": [{"user": "a", "pass": 12345}]}'),
    `${at}2:57 "pass" must be text`,
  ],
  [
    'a list too long',
    withInbound('"port": 1, "settings": {"users": [1, 2, 3, 4]}'),
    `${at}2:34 "users" must have 3 entries or fewer, found 4`,
  ],
  [
    'settings that are not there',
    '{"outbounds": [{"protocol": "direct"}],\n "inbounds": [{"protocol": "relay", "port": 1}]}',
    `${at}2:15 missing key "settings.address"`,
    `${at}2:15 missing key "settings.port"`,
  ],
  [
    'a mistyped address',
    withInbound(
      '"port": 1}, {"protocol": "relay", "port": 2, "settings": {"address": "256.1.1.1", "port": 0}',
    ),
    `${at}2:70 "address" must be an IP address or a domain name, found "256.1.1.1"`,
    `${at}2:91 "port" must be a number from 1 to 65535, found 0`,
  ],
  // Protocols
  [
    'an unknown protocol',
    withInbound('"port": 1}, {"protocol": "ehco", "port": 2'),
    `${at}2:26 "protocol" must be one of "echo", "mirror", "relay", found "ehco", did you mean "echo"?`,
  ],
  [
    'a protocol still to come',
    withInbound('"port": 1}, {"protocol": "later", "port": 2'),
    `${at}2:26 the protocol "later" ${later}`,
  ],
  [
    'a number as protocol',
    withInbound('"port": 1}, {"protocol": 7, "port": 2'),
    `${at}2:26 "protocol" must be text, found 7`,
  ],
  // Not yet
  [
    'routing',
    withTop('"routing": {"rules": []}'),
    `${at}2:1 "routing" ${later}: routing rules are not built yet`,
  ],
  [
    'empty routing',
    withTop('"routing": {}, "stats": {}'),
    `${at}2:1 warning: "routing" ${idle}`,
    `${at}2:16 warning: "stats" ${idle}`,
  ],
  [
    'a transport',
    withInbound('"port": 1, "streamSettings": {"network": "ws", "wsSettings": {}}'),
    `${at}2:42 "network" has the value "ws", which ${later}`,
    `${at}2:48 "wsSettings" ${later}`,
  ],
  [
    'an unknown transport',
    withInbound('"port": 1, "streamSettings": {"network": "tpc"}'),
    `${at}2:42 "network" must be one of "tcp", "raw", found "tpc", did you mean "tcp"?`,
  ],
  [
    'TLS',
    withInbound('"port": 1, "streamSettings": {"security": "tls", "tlsSettings": {"alpn": []}}'),
    `${at}2:43 "security" has the value "tls", which ${later}`,
    `${at}2:50 "tlsSettings" ${later}`,
  ],
  [
    'socket options',
    withInbound('"port": 1, "streamSettings": {"sockopt": {"mark": 1, "tproxi": 2}}'),
    `${at}2:43 "mark" ${later}`,
    `${at}2:54 unknown key "tproxi", did you mean "tproxy"?`,
  ],
  [
    'a header for camouflage',
    withInbound('"port": 1, "streamSettings": {"tcpSettings": {"header": {"type": "http"}}}'),
    `${at}2:66 "type" has the value "http", which ${later}`,
  ],
  [
    'sniffing',
    withInbound('"port": 1, "sniffing": {"enabled": true}'),
    `${at}2:36 sniffing ${later}`,
  ],
  [
    'mux',
    '{"inbounds": [{"protocol": "echo", "port": 1}],\n "outbounds": [{"protocol": "direct", "mux": {"enabled": true}}]}',
    `${at}2:58 mux ${later}`,
  ],
  [
    'a chain',
    '{"inbounds": [{"protocol": "echo", "port": 1}],\n "outbounds": [{"protocol": "direct", "proxySettings": {"tag": "a"}}]}',
    `${at}2:39 "proxySettings" ${later}: chains of outbounds are not built yet`,
  ],
  [
    'a source address',
    '{"inbounds": [{"protocol": "echo", "port": 1}],\n "outbounds": [{"protocol": "direct", "sendThrough": "10.0.0.1"}]}',
    `${at}2:54 "sendThrough" ${later}`,
  ],
  [
    'PROXY protocol on an outbound',
    '{"inbounds": [{"protocol": "echo", "port": 1}],\n "outbounds": [{"protocol": "direct", "streamSettings": {"sockopt": {"acceptProxyProtocol": true}}}]}',
    `${at}2:39 warning: "streamSettings" has an "acceptProxyProtocol", which has no effect on an outbound`,
  ],
  [
    'settings without effect',
    withTop('"policy": {"levels": {"0": {"bufferSize": 4, "statsUserUplink": true}, "1": {}}}'),
    `${at}2:29 warning: "bufferSize" ${idle}`,
    `${at}2:46 warning: "statsUserUplink" ${idle}`,
    `${at}2:72 warning: the level "1" ${idle}, only "0" has`,
  ],
  // The whole
  [
    'a tag twice',
    withInbound('"port": 1, "tag": "a"},\n{"protocol": "echo", "port": 2, "tag": "a"'),
    `${at}3:40 the tag "a" is already taken by inbounds[0] (line 1)`,
  ],
  [
    'an address twice',
    withInbound(
      '"port": 1, "listen": "::1"},\n{"protocol": "echo", "port": "1", "listen": "[0:0::1]"',
    ),
    `${at}3:30 port 1 of ::1 is already taken by inbounds[0] (line 1)`,
  ],
  [
    'all addresses and one',
    withInbound('"port": 1},\n{"protocol": "echo", "port": 1, "listen": "::1"'),
    `${at}3:30 port 1 of ::1 is already taken by inbounds[0] (line 1)`,
  ],
  [
    'one address and all',
    withInbound(
      '"port": 1, "listen": "127.0.0.1"},\n{"protocol": "echo", "port": 1, "listen": "::"',
    ),
    `${at}3:30 port 1 of :: is already taken by inbounds[0] (line 1)`,
  ],
  [
    'a mapped address',
    withInbound(
      '"port": 1, "listen": "127.0.0.1"},\n{"protocol": "echo", "port": 1, "listen": "::ffff:127.0.0.1"',
    ),
    `${at}3:30 port 1 of 127.0.0.1 is already taken by inbounds[0] (line 1)`,
  ],
  [
    'a socket path twice',
    withInbound('"listen": "/run/a"},\n{"protocol": "echo", "listen": "/run/a"'),
    `${at}3:32 "/run/a" is already taken by inbounds[0] (line 1)`,
  ],
]

for (const [name, text, ...lines] of broken) {
  test(`${name} is told at its place`, () => {
    assert.deepEqual(linesFor(text), lines)
  })
}

test('everything wrong in one file is told at once, in file order', () => {
  const text = `{
  // every mistake here is told in one run
  "log": { "loglevel": "debg" },
  "inbounds": [
    { "tag": "in", "protocol": "echo", "port": 0, "setings": {} },
    { "tag": "in", "protocol": "mirror", "port": 1080,
      "settings": { "auth": "pasword", "users": [{ "user": "a" }], "udp": 1 } },
  ],
  "outbounds": [{ "protocol": "dierct", "mux": { "enabled": true } }],
  "dns": { "servers": ["1.1.1.1"] },
  "stats": {},
}`
  assert.deepEqual(linesFor(text), [
    `${at}3:24 "loglevel" must be one of "debug", "info", "warning", "error", "none", found "debg", did you mean "debug"?`,
    `${at}5:48 "port" must be a number from 1 to 65535, found 0`,
    `${at}5:51 unknown key "setings", did you mean "settings"?`,
    `${at}6:14 the tag "in" is already taken by inbounds[0] (line 5)`,
    `${at}7:29 "auth" must be one of "noauth", "password", found "pasword", did you mean "password"?`,
    `${at}7:50 missing key "pass"`,
    `${at}7:75 "udp" must be true or false, found 1`,
    `${at}9:31 "protocol" must be "direct", found "dierct", did you mean "direct"?`,
    `${at}9:61 mux ${later}`,
    `${at}10:3 "dns" ${later}: the DNS module is not built yet`,
    `${at}11:3 warning: "stats" ${idle}`,
  ])
})
