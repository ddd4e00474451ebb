// Generated from the migrations by `npm run build`. Do not edit.
import type { Checksums } from './checksumOf.ts'

/** Migrations up to this one are released. Databases have run them, so they never change. */
export const released = '006-log-epoch'

/** SHA-256 of the SQL of each migration. */
export const checksums: Readonly<Record<string, Checksums | undefined>> = {
  '001-rooms-and-messages': {
    sqlite: '57c086230b45381cdc93ab6803a6c0cffeef80d79ed9c479cec0753c298a03b4',
    postgres: '7db26bbbe91525bf66be75644007f295a3a544e0674522f0372b3d671d0b4746',
  },
  '002-identity': {
    sqlite: '11e7a37ee3fcff4aa788bf8a743c090bf517baeb88a9c2fb0f650cbdb010b0de',
    postgres: 'd9b16edf2f3fa53883ba20899ed5430a6553b98fe173051e720b6550c31e1ffa',
  },
  '003-live': {
    sqlite: '4b66931cb09a9ae3fd1f0868ea83f2764b352efdd3b947ee7b01122bad393846',
    postgres: '491330ac4cfdc9abc8f415b5b35be73492ef72aceab1037528fc3493f8895f8a',
  },
  '004-last-message': {
    sqlite: '49c821e671976e2306b33627f5ca81498ce281660bf73a3f8d0ead9584d7f736',
    postgres: '54e332db66123bf7e87ff791a82a17363d1677d9d301d5966ce1a6ba00b7bb09',
  },
  '005-organisation-settings': {
    sqlite: '7d0d994fdc7c926e739d9c531f6922cf5f46855c298f1b31d8d0ead86af5538f',
    postgres: 'ddee56fbbdf62c4a55ffa678c38fffd3e11718a63f6600e1d6e83a3a173d64ee',
  },
  '006-log-epoch': {
    sqlite: '011df9ae73c3aac99f52cb07939ba71de3fa7139496fb2d2b6065ff0fee026b7',
    postgres: 'ef5c5b318f10350af5b61166dd59fb2adcb1adcb3b2fd2c38ccd3a9d657d2273',
  },
  '007-user-token-revocations': {
    sqlite: '64ea73e77f17156cf2f9ea5702dcb5943acccd25ecb08d6dc429da2b75198c96',
    postgres: '06726c934eae8f66fa022eff417faeca50340ffabdc14d5acf7ec08b6b514a02',
  },
  '008-versions': {
    sqlite: '8fba48c177c381eddbb53ea4ea6d7add4ca112f6f6e1ba562614dd8796df8ccc',
    postgres: '92396350679a97359209f6d919369ab407a97c3e3449b128759d769f218d69c0',
  },
  '009-hashed-product': {
    sqlite: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    postgres: '4f437959f7ab4d832db90cad9320f3658f2aa854c7a2aab175aa89786607e631',
  },
  '010-unassigned-rooms': {
    sqlite: '74ac14388005880b4f0844e030de43b3895df3eef061ecd729d1bc46c834cfda',
    postgres: '74ac14388005880b4f0844e030de43b3895df3eef061ecd729d1bc46c834cfda',
  },
  '011-retention-clock': {
    sqlite: 'fbe09b6cbbe6f99a2adb9387ef8ee18e99f6a7fa1f097d1990a8a6929977d852',
    postgres: '852d76bb5aec3abc33d1f75ad3a701ed0b89c9dace1220e3e7d67435d235b498',
  },
}
