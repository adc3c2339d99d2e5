import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { formatEndpoint, parsePort } from './endpoint.ts'

describe('a port', () => {
  it('is a whole number from 0 to 65535', () => {
    for (const port of [0, 1, 443, 65_535]) assert.equal(parsePort(port), port)
  })

  it('is refused as a mistake of the configuration when it is anything else', () => {
    const bad = [-1, 65_536, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]
    for (const port of bad) {
      assert.throws(() => parsePort(port), { code: 'config.bad-port', blame: 'config' })
    }
    fc.assert(
      fc.property(fc.double(), value => {
        const isPort = Number.isInteger(value) && value >= 0 && value <= 65_535
        if (isPort) assert.equal(parsePort(value), value)
        else assert.throws(() => parsePort(value), { code: 'config.bad-port' })
      }),
    )
  })
})

describe('an endpoint', () => {
  it('is written as host and port, with IPv6 in brackets and a path alone', () => {
    const text = (host: string, port: number): string =>
      formatEndpoint({ host, port: parsePort(port) })
    assert.equal(text('192.0.2.1', 80), '192.0.2.1:80')
    assert.equal(text('example.org', 443), 'example.org:443')
    assert.equal(text('2001:db8::1', 443), '[2001:db8::1]:443')
    assert.equal(text('::', 0), '[::]:0')
    assert.equal(text('/run/sluice.sock', 0), '/run/sluice.sock')
    assert.equal(text('@abstract', 0), '@abstract')
  })
})
