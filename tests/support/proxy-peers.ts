import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import type { TestContext } from 'node:test'
import { within } from './proxy-wait.ts'

/**
 * Says which real program this test talks to. False, and the test is skipped, where it is not
 * installed; on the machine that has to have it, that is a failure.
 */
export async function hasPeer(
  t: TestContext,
  program: string,
  versionFlag = '--version',
): Promise<boolean> {
  const version = await versionOf(program, versionFlag)
  if (version !== null) {
    t.diagnostic(`peer: ${program} ${version}`)
    return true
  }
  assert.notEqual(process.env['CI'], 'true', `${program} must be there`)
  t.skip(`no ${program} here`)
  return false
}

export function hasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flat()
  return addresses.some(one => one?.address === '::1')
}

function versionOf(program: string, flag: string): Promise<string | null> {
  return new Promise(resolve => {
    execFile(program, [flag], (error, stdout) => {
      const version = /\d+(?:\.\d+)+/.exec(stdout)?.[0]
      resolve(error === null ? (version ?? 'of unknown version') : null)
    })
  })
}

export interface CurlAnswer {
  /** curl's exit code; 0 is success, 97 a proxy that refused. */
  readonly code: number
  readonly body: Buffer
  /** With `-v` also the heads; else only errors. */
  readonly log: string
}

/** Runs the real curl, without any configuration or environment of this machine. */
export async function curl(args: readonly string[], input?: Uint8Array): Promise<CurlAnswer> {
  const child = spawn('curl', ['-q', '-sS', '--noproxy', '', '--max-time', '30', ...args], {
    env: { PATH: process.env['PATH'] },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const body: Buffer[] = []
  const log: Buffer[] = []
  child.stdout.on('data', bytes => body.push(bytes))
  child.stderr.on('data', bytes => log.push(bytes))
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const code = await within(
    new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    }),
    `curl ${args.join(' ')}`,
    () => Buffer.concat(log).toString(),
    60_000,
  )
  return { code, body: Buffer.concat(body), log: Buffer.concat(log).toString() }
}
