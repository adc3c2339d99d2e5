import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'

const runFile = promisify(execFile)

async function runNode(...args: string[]): Promise<string> {
  const { stdout } = await runFile(process.execPath, args, { timeout: 60_000 })
  return stdout
}

describe('the program and the library as a newcomer meets them', () => {
  it('serves a protocol that a user wrote, and leaves nothing behind', async () => {
    const printed = await runNode('examples/shout.ts')
    assert.match(printed, /HELLO, LATE REPLY/)
    assert.match(printed, /flow #1 ended clean/)
    assert.match(printed, /^0 left$/m)
  })

  it('sends 16 MB through itself, compares, prints its access line and 0 left', async () => {
    const printed = await runNode('src/cli/main.ts', 'demo', '--once')
    assert.match(printed, /#1 mixed {2}127\.0\.0\.1:\d+ -> tcp:127\.0\.0\.1:\d+ via direct/)
    assert.match(printed, /down 16\.8 MB in [^\n]* clean/)
    assert.match(printed, /16777216 bytes, sha256 [0-9a-f]{64} same/)
    assert.match(printed, /closed 1 connections, 0 left\n$/)
  })

  it('tells every mistake of a configuration with its place, and exits with 78', async () => {
    const failed = await runNode('src/cli/main.ts', 'check', 'tests/examples/wrong.jsonc').then(
      () => assert.fail('it was accepted'),
      (thrown: { readonly code: number; readonly stderr: string }) => thrown,
    )
    assert.equal(failed.code, 78)
    assert.match(failed.stderr, /wrong\.jsonc:4:7 unknown key "setings", did you mean "settings"\?/)
    assert.match(failed.stderr, /wrong\.jsonc:7:19 the protocol "vless" is not supported/)
  })
})
