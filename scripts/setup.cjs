// Runs before start, test and check, on whatever Node the machine has (14 or later) and npm 9 or
// later, so that `npm start` alone is enough on a fresh clone. Prints nothing when all is in place.
//
// 1. node_modules must be what package-lock.json says, else `npm ci`.
// 2. node_modules/.bin/node must be the Node this project runs on. It comes from the npm package
//    `node`, whose install script fetches it; where install scripts are off it is silently absent
//    and the machine's own, older Node would run instead.
'use strict'

const { createHash } = require('crypto')
const { spawnSync } = require('child_process')
const fs = require('fs')
const path = require('path')

const nodeMajor = 26
const root = path.resolve(__dirname, '..')
const modules = path.join(root, 'node_modules')
const stampFile = path.join(modules, '.sluice-lock')
const nodeFile = path.join(
  modules,
  ...(process.platform === 'win32' ? ['node', 'bin', 'node.exe'] : ['.bin', 'node']),
)

setUp()

function setUp() {
  const lock = readOrNull(path.join(root, 'package-lock.json'))
  if (lock === null) stop('package-lock.json is missing: this is not a whole checkout of sluice.')
  const hash = createHash('sha256').update(lock).digest('hex')
  if (readOrNull(stampFile) === stampOf(hash)) return

  if (!isInstalled(lock)) install()
  if (nodeProblem() !== null) npm(['rebuild', 'node', '--foreground-scripts', '--loglevel=error'])
  const problem = nodeProblem()
  if (problem !== null) stop(nodeHelp(problem))
  fs.writeFileSync(stampFile, stampOf(hash))
}

function install() {
  console.error('sluice: installing dependencies (npm ci)')
  // --include=dev: the runtime is a devDependency, wanted even with NODE_ENV=production.
  const quiet = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const first = npm(['ci', ...quiet], 'pipe')
  if (first.status === 0) return
  // Where a registry lacks a package for some other platform, npm leaves it out of the lock and
  // `npm ci` then calls that very lock incomplete (npm 11). `npm install` keeps to the lock and
  // passes over what is optional.
  if (/\bEUSAGE\b[^]*\bMissing:/.test(first.errors)) {
    console.error('sluice: npm ci calls the lock file incomplete; trying npm install')
    if (npm(['install', '--no-save', ...quiet]).status === 0) return
  }
  process.stderr.write(first.errors)
  stop(`npm ci failed (${first.status}); its own message is above. Mend that and try again.`)
}

/** True if node_modules holds what the lock asks for, whoever installed it. */
function isInstalled(lockText) {
  const installed = readOrNull(path.join(modules, '.package-lock.json'))
  if (installed === null) return false
  try {
    const wanted = JSON.parse(lockText).packages
    const present = JSON.parse(installed).packages
    for (const name of Object.keys(wanted)) {
      const want = wanted[name]
      const have = present[name]
      if (name === '' || (have === undefined && (want.optional || want.peer))) continue
      if (have === undefined || have.version !== want.version) return false
    }
    return Object.keys(present).every(name => wanted[name] !== undefined)
  } catch (_) {
    return false
  }
}

/** `null` when the project's Node is there and new enough, else what is wrong with it. */
function nodeProblem() {
  if (!fs.existsSync(nodeFile)) return 'was not installed'
  const run = spawnSync(nodeFile, ['--version'], { encoding: 'utf8' })
  if (run.error || run.status !== 0) return 'does not run on this machine'
  const version = run.stdout.trim()
  const major = Number((/^v(\d+)\./.exec(version) || [])[1])
  return major >= nodeMajor ? null : `is ${version}`
}

function nodeHelp(problem) {
  return [
    `sluice runs on Node ${nodeMajor} from its own node_modules, but that Node ${problem}.`,
    'The npm package `node` fetches it in an install script, so the usual reason is that npm is',
    'told to run none. Allow this one and try again:',
    '',
    '  npm rebuild node --foreground-scripts --ignore-scripts=false',
    '',
    `(This message comes from Node ${process.version}.)`,
  ].join('\n')
}

/** What is written when all is well: the lock that was installed, and the Node that was tried. */
function stampOf(hash) {
  try {
    const { size, mtimeMs } = fs.statSync(nodeFile)
    return `${hash} ${size} ${Math.round(mtimeMs)}\n`
  } catch (_) {
    return `${hash} no node\n`
  }
}

/** Runs the npm that started us, or else the one on PATH; `pipe` keeps what it says of errors. */
function npm(args, stderr = 'inherit') {
  const cli = process.env.npm_execpath || ''
  const isNpm = /npm-cli\.[cm]?js$/.test(cli)
  const options = { cwd: root, stdio: ['inherit', 'inherit', stderr], encoding: 'utf8' }
  const run = isNpm
    ? spawnSync(process.env.npm_node_execpath || process.execPath, [cli, ...args], options)
    : spawnSync('npm', args, { ...options, shell: process.platform === 'win32' })
  if (run.error) stop(`npm could not be started: ${run.error.message}`)
  return { status: run.status === null ? run.signal : run.status, errors: run.stderr || '' }
}

function readOrNull(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (_) {
    return null
  }
}

function stop(message) {
  console.error(message)
  process.exit(1)
}
