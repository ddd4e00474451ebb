import { rights } from '@dowell-chat/api'

export const HELP = `Dowell Chat, at the command line. Works on the database that DATABASE_URL names, whether or not the server runs.

  npm run cli -- keys create --org ORG --right ${rights.join('|')} [--name NAME]
      makes an API key and shows it this once
  npm run cli -- keys list --org ORG
      lists an organisation's keys
  npm run cli -- keys revoke --id ID
      revokes a key, and the user tokens that it asked for
  npm run cli -- signing-keys rotate [--now]
      signs user tokens with a new key. The older keys sign nothing any more, and their tokens stay valid until they
      expire; with --now they end at once, with the streams that they opened. Refuses if TOKEN_SIGNING_KEYS is set
  npm run cli -- copy --from URL --to URL
      copies one database into another, empty one, whatever DATABASE_URL says: sqlite:./data/dowell-chat.db or
      postgres://chat:password@db.example.com/chat, on either side. Stop the servers first. Compares everything at
      the end; run again after an interruption, it goes on where it was
  npm run cli -- restore [--from FILE]
      puts a copy of the SQLite file in its place, and refuses all cursors from before; stop the server first. On
      PostgreSQL, and for a copy that is in place already: without --from
`
