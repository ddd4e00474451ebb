// Runs on whatever Node (18 or newer) the machine has: installs the project, its own Node 24 among it, and then runs
// the command asked for with that. Nothing here may use what the project installs.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
// Without the hash, which corepack reads and npx does not.
const packageManager = JSON.parse(read('package.json')).packageManager.split('+')[0]
const windows = process.platform === 'win32'

const lint = [
  ['biome', 'ci', '--error-on-warnings', '.'],
  ['depcruise', 'packages', 'apps', 'examples', 'bench', 'scripts'],
]
const typecheck = ['tsc', '-p', '.']

/** The steps of each command, in order. The last one gets the arguments and the signals. */
const commands = {
  start: [['node', 'apps/server/src/main.ts']],
  // tsx watch would start behind pnpm's wrapper, which keeps signals to itself.
  dev: [['node', '--watch', 'apps/server/src/main.ts']],
  cli: [['node', 'apps/server/src/cli.ts']],
  bench: [['node', 'bench/main.ts']],
  test: [['vitest', 'run']],
  // Adds the tests that vitest.config.ts leaves out of `npm test`.
  'test:full': [['vitest', 'run']],
  lint,
  typecheck: [typecheck],
  // What CI adds to the tests.
  check: [...lint, typecheck, ['tsx', 'scripts/generate.ts', 'check']],
  // Writes every generated file.
  build: [
    ['tsx', 'scripts/generate.ts', 'write'],
    ['vitest', 'run', '--project=sqlite', 'access.test.ts', '-t', 'docs/access.md', '--update'],
  ],
}

/** The environment that a command adds. */
const environments = { 'test:full': { TEST_FULL: '1' } }

function read(path) {
  return readFileSync(join(root, path), 'utf8')
}

/** Identifies the last complete install. It is absent while one runs, so an interrupted install is repeated. */
const stamp = join(root, 'node_modules', '.cache', 'install')

function workspaceFolders() {
  const [, list = ''] = /^packages:\n((?: +- .*\n)*)/m.exec(read('pnpm-workspace.yaml')) ?? []
  return [...list.matchAll(/- (\S+)/g)].flatMap(([, folder]) =>
    folder.endsWith('/*')
      ? readdirSync(join(root, folder.slice(0, -2))).map((name) => folder.replace('*', name))
      : [folder],
  )
}

/** A hash of everything that decides what an install produces, and of the lockfile that was installed. */
function installState() {
  const manifests = ['', ...workspaceFolders()]
    .map((folder) => join(folder, 'package.json'))
    .filter((path) => existsSync(join(root, path)))
  const files = ['pnpm-workspace.yaml', 'pnpm-lock.yaml', ...manifests.sort()]
  // pnpm's copy of the lockfile that node_modules was made from; an install by hand changes it.
  const installed = 'node_modules/.pnpm/lock.yaml'
  const hash = createHash('sha256')
  // Binaries of another system, such as in a folder that a container shares, do not run.
  hash.update(JSON.stringify([process.platform, process.arch]))
  for (const path of [...files, installed]) {
    hash.update(JSON.stringify([path, existsSync(join(root, path)) ? read(path) : null]))
  }
  return hash.digest('hex')
}

function isInstalled() {
  const isComplete = [
    'node_modules/.modules.yaml',
    'node_modules/node',
    ...workspaceModules(),
  ].every((path) => existsSync(join(root, path)))
  return isComplete && existsSync(stamp) && readFileSync(stamp, 'utf8') === installState()
}

/** The node_modules of each workspace folder: somebody may have removed one. */
function workspaceModules() {
  return workspaceFolders()
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .map((folder) => join(folder, 'node_modules'))
}

/** Installs the packages unless node_modules is up to date; then the registry is not asked. */
function install() {
  if (isInstalled()) return
  if (!existsSync(join(root, 'node_modules'))) {
    process.stderr.write('Installing what the project needs; this may take a minute.\n')
  }
  rmSync(stamp, { force: true })
  const result = spawnSync('npx', ['--yes', packageManager, 'install', '--frozen-lockfile'], {
    cwd: root,
    encoding: 'utf8',
    // With NODE_ENV=production pnpm would leave out or remove devDependencies, the project's own Node among them.
    env: { ...process.env, NODE_ENV: '' },
    shell: windows,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
    process.stderr.write(`Installing failed${result.error ? `: ${result.error.message}` : ''}.\n`)
    process.exit(1)
  }
  mkdirSync(dirname(stamp), { recursive: true })
  // By rename, so that a start at the same time reads no half of it.
  const written = `${stamp}.${process.pid}`
  writeFileSync(written, installState())
  renameSync(written, stamp)
}

/**
 * The shell that npm runs a script in, and what stands between it and this process. Whoever stops npm stops that shell,
 * which tells nobody; so its end is watched for. Between them is pnpm's wrapper of the project's own Node, once that is
 * installed.
 */
function callersUnderNpm() {
  if (process.env.npm_lifecycle_event === undefined || windows) return []
  const wrapped = process.execPath.startsWith(root)
  const shell = wrapped && Number(spawnSync('ps', ['-o', 'ppid=', '-p', `${process.ppid}`]).stdout)
  return [process.ppid, shell].filter((pid) => pid > 1)
}

function isAlive(pid) {
  if (process.ppid === 1) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

const [name, ...args] = process.argv.slice(2)
const steps = commands[name]
if (!steps) {
  process.stderr.write(`Unknown command ${name}; there are ${Object.keys(commands).join(', ')}.\n`)
  process.exit(1)
}

const callers = callersUnderNpm()
install()
const bin = join(root, 'node_modules', '.bin')
// The binary itself: pnpm's wrapper of it would keep signals to itself.
const nodeFolder = join(root, 'node_modules', 'node', 'bin')
const node = join(nodeFolder, windows ? 'node.exe' : 'node')
const pathKey = Object.keys(process.env).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH'
const path = [nodeFolder, bin, process.env[pathKey] ?? ''].join(windows ? ';' : ':')

// Node removes the types and compiles each file once for all starts: a start takes a third of the time.
const compiled = join(root, 'node_modules', '.cache', 'compiled')

for (const [index, [command, ...own]] of steps.entries()) {
  const last = index === steps.length - 1
  const child = spawn(
    command === 'node' ? node : join(bin, command),
    last ? [...own, ...args] : own,
    {
      cwd: root,
      env: { NODE_COMPILE_CACHE: compiled, ...process.env, ...environments[name], [pathKey]: path },
      shell: windows && command !== 'node',
      stdio: 'inherit',
    },
  )
  // Ctrl+C reaches the whole process group, the child too; a signal sent to this process alone does not.
  const forward = (signal) => child.kill(signal)
  process.on('SIGTERM', forward)
  process.on('SIGINT', process.stdin.isTTY ? () => undefined : forward)
  const watch = setInterval(() => {
    if (callers.every(isAlive)) return
    // Once: the server takes a second signal for an order to drop everything.
    clearInterval(watch)
    child.kill('SIGTERM')
  }, 250)
  const status = await new Promise((resolve) => {
    child.on('error', (error) => {
      process.stderr.write(`${error.message}\n`)
      resolve(1)
    })
    child.on('exit', (code, signal) => resolve(code ?? (signal ? 1 : 0)))
  })
  clearInterval(watch)
  process.removeAllListeners('SIGTERM')
  process.removeAllListeners('SIGINT')
  if (status !== 0) process.exit(status)
}
