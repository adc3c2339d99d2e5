import { equal } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

test('thousands of flows in all ways to end leave nothing behind', {
  timeout: 180_000,
}, async t => {
  if (process.platform !== 'linux') {
    t.skip('needs the whole of 127.0.0.0/8')
    return
  }
  const file = fileURLToPath(new URL('soak.ts', import.meta.url))
  const args = ['--expose-gc', file, '--flows', '2000', '--patience', '4000']
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: t.signal,
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more
    process.stdout.write(more)
  })
  const code = await new Promise<unknown>(resolve => {
    child.once('close', resolve).once('error', resolve)
  })
  t.diagnostic(text.trimEnd().split('\n').at(-1) ?? '')
  equal(code, 0, text)
})
