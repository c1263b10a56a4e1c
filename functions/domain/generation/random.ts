/** Random numbers as a function of a string: a request that is sent again draws the same list. Not for secrets. */

/** A 128-bit hash of the string's UTF-16 units: four FNV-1a lanes, stirred into one another at the end. */
function hash128(text: string): [number, number, number, number] {
  const primes = [0x01000193, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f] as const;
  let [a, b, c, d] = [0x811c9dc5, 0x9e3779b9, 0x7f4a7c15, 0x94d049bb];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, primes[0]);
    b = Math.imul(b ^ unit ^ (a >>> 15), primes[1]);
    c = Math.imul(c ^ unit ^ (b >>> 13), primes[2]);
    d = Math.imul(d ^ unit ^ (c >>> 16), primes[3]);
  }
  a ^= d >>> 11;
  b ^= a;
  c ^= b;
  d ^= c;
  return [a, b, c, d];
}

/** sfc32 (Chris Doty-Humphrey's small fast counting generator, from PractRand), seeded by a string. Values in [0, 1). */
export function seededRandom(seed: string): () => number {
  let [a, b, c, counter] = hash128(seed);
  const next = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + result;
    c |= 0;
    return (result >>> 0) / 4_294_967_296;
  };
  for (let round = 0; round < 12; round += 1) next(); // until every bit of the seed has reached every bit of the state
  return next;
}
