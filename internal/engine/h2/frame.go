package h2

import "encoding/binary"

// The types of frames. RFC 9113, section 6.
const (
	frameData = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

// The flags.
const (
	flagEnd      = 0x1 // of a stream
	flagAck      = 0x1
	flagEndHead  = 0x4
	flagPadded   = 0x8
	flagPriority = 0x20
)

// The settings.
const (
	setTable       = 1
	setPush        = 2
	setStreams     = 3
	setWindow      = 4
	setFrame       = 5
	setHead        = 6
	frameHead      = 9
	maxFrame       = 16 << 10 // that we take and send: RFC 9113, section 4.2
	initialWindow  = 65535
	maxWindow      = 1<<31 - 1
	initialStreams = 100 // of a service, before it has said how many: RFC 9113, section 6.5.2, recommends no fewer
)

func appendFrame(out []byte, length int, kind, flags byte, id uint32) []byte {
	return append(out, byte(length>>16), byte(length>>8), byte(length), kind, flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendUint32(out []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(out, v) }

func appendReset(out []byte, id uint32, code Code) []byte {
	return appendUint32(appendFrame(out, 4, frameReset, 0, id), uint32(code))
}

func appendWindow(out []byte, id uint32, n int) []byte {
	return appendUint32(appendFrame(out, 4, frameWindow, 0, id), uint32(n))
}

func appendSetting(out []byte, id uint16, v uint32) []byte {
	return appendUint32(binary.BigEndian.AppendUint16(out, id), v)
}

func appendGoAway(out []byte, last uint32, code Code, text string) []byte {
	out = appendFrame(out, 8+len(text), frameGoAway, 0, 0)
	out = appendUint32(appendUint32(out, last), uint32(code))
	return append(out, text...)
}

// unpad takes the padding of a frame off. RFC 9113, section 6.1.
func unpad(p []byte, flags byte) ([]byte, bool) {
	if flags&flagPadded == 0 {
		return p, true
	}
	if len(p) == 0 || int(p[0]) > len(p)-1 {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}
