package balance

import "math/bits"

// Hash is the hash of a key. It is the same on every node and in every version, so that
// nodes agree on where a key belongs. It is not made to resist somebody who looks for
// collisions; bounded load is what limits the harm of those.
func Hash[T ~string | ~[]byte](s T) uint64 {
	h := uint64(len(s)) * 0x9e3779b97f4a7c15
	for ; len(s) >= 8; s = s[8:] {
		h = fold(h^(uint64(s[0])|uint64(s[1])<<8|uint64(s[2])<<16|uint64(s[3])<<24|
			uint64(s[4])<<32|uint64(s[5])<<40|uint64(s[6])<<48|uint64(s[7])<<56)^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	}
	var last uint64
	for i := range len(s) {
		last |= uint64(s[i]) << (8 * i)
	}
	return mix(fold(h^last^0x8ebc6af09c88c6e3, 0x589965cc75374cc3))
}

// fold multiplies to 128 bits and joins the halves.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// mix is a bijection in which each bit of x moves about half of the result's (the
// finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
