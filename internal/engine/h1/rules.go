package h1

import "errors"

// ErrShort says that the head is not whole yet: call again with more bytes behind the
// same ones. It never comes once the bytes have reached Limits.Head.
var ErrShort = errors.New("h1: the head is not whole yet")

// ErrPreface says that the bytes begin with PRI * HTTP/2.0, the preface of HTTP/2 (RFC
// 9113, section 3.4): hand the connection, with these bytes, to an HTTP/2 server.
var ErrPreface = errors.New("h1: the preface of HTTP/2")

// Error says which rule the bytes break. The connection must be closed after it.
type Error struct {
	Status int    // to answer with: 400, 405, 414, 417, 431, 505; 502 for what a service sent
	Text   string // the rule, with its source; a constant
}

func (e *Error) Error() string { return e.Text }

// rule is what a message can break, or ok or short.
type rule uint8

const (
	ok rule = iota
	short
	preface

	emptyLine
	badMethod
	badTarget
	targetFragment
	targetForm
	targetStar
	targetPath
	targetScheme
	methodRefused
	targetLong
	badRequestLine
	badVersion
	otherVersion
	reservedPRI

	badStatusLine
	badStatus
	badReason

	headLong
	tooManyFields
	bareLF
	bareCR
	controlByte
	firstLineSpace
	obsFold
	emptyName
	badName
	spaceBeforeColon
	noColon
	underscoreFraming

	hostMissing
	hostRepeated
	badHost
	hostDiffers

	lengthRepeated
	badLength
	lengthAndCoding
	codingRepeated
	badCoding
	codingInOld
	framedInterim

	badOption
	optionForbidden
	tooManyOptions
	badExpect

	badChunkSize
	chunkSizeLong
	badChunkEnd
	extensionLong
	trailerLong

	numRules
)

// rules gives for each rule what to answer a request that breaks it, and why.
var rules = [numRules]Error{
	ok:      {0, "ok"},
	short:   {0, "short"},
	preface: {0, "preface"},

	emptyLine:      {400, "the message begins with an empty line; want its first line at once (RFC 9112, section 2.2)"},
	badMethod:      {400, "the method is not a token followed by one space (RFC 9112, section 3.1)"},
	badTarget:      {400, "the request target holds a space, a control byte or a byte of 0x80 or above; want it percent-encoded (RFC 9112, section 3.2)"},
	targetFragment: {400, "the request target holds a fragment (#), which is not sent (RFC 9112, section 3.2)"},
	targetForm:     {400, "the request target is neither a path that begins with / nor a whole http URL (RFC 9112, section 3.2)"},
	targetStar:     {400, "the request target * is for OPTIONS only (RFC 9112, section 3.2.4)"},
	targetPath:     {400, "the URL in the request line has no path; want at least / after the host (RFC 9112, section 3.2.2)"},
	targetScheme:   {400, "the URL in the request line is neither http:// nor https:// (RFC 9112, section 3.2.2)"},
	methodRefused:  {405, "CONNECT and TRACE are not offered here (RFC 9110, sections 9.3.6 and 9.3.8)"},
	targetLong:     {414, "the request target is too long (RFC 9110, section 15.5.15)"},
	badRequestLine: {400, "the request line is not method, one space, target, one space, version and CRLF (RFC 9112, section 3)"},
	badVersion:     {400, "the version is not HTTP/ and two digits with a dot (RFC 9112, section 2.3)"},
	otherVersion:   {505, "the version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9110, section 15.6.6)"},
	reservedPRI:    {400, "the method PRI belongs to the preface of HTTP/2 (RFC 9113, section 11.6)"},

	badStatusLine: {400, "the status line is not version, one space, three digits, one space, reason and CRLF (RFC 9112, section 4)"},
	badStatus:     {400, "the status is not of three digits from 100 on (RFC 9110, section 15)"},
	badReason:     {400, "the reason phrase holds a control byte (RFC 9112, section 4)"},

	headLong:          {431, "the head is too long (RFC 6585, section 5)"},
	tooManyFields:     {431, "the head has too many fields (RFC 6585, section 5)"},
	bareLF:            {400, "a line ends with LF alone; want CRLF (RFC 9112, section 2.2)"},
	bareCR:            {400, "a CR is not followed by LF (RFC 9112, section 2.2)"},
	controlByte:       {400, "a field holds a control byte (RFC 9110, section 5.5)"},
	firstLineSpace:    {400, "the first field line begins with a space (RFC 9112, section 2.2)"},
	obsFold:           {400, "a field line begins with a space: lines are not folded (RFC 9112, section 5.2)"},
	emptyName:         {400, "a field has no name (RFC 9110, section 5.1)"},
	badName:           {400, "a field name is not a token (RFC 9110, section 5.1)"},
	spaceBeforeColon:  {400, "a space stands before the colon of a field (RFC 9112, section 5.1)"},
	noColon:           {400, "a field line has no colon (RFC 9112, section 5)"},
	underscoreFraming: {400, "a field name is Content-Length or Transfer-Encoding with _ for -: some readers take it for framing (RFC 9112, section 11.2)"},

	hostMissing:  {400, "Host is missing (RFC 9112, section 3.2)"},
	hostRepeated: {400, "Host is repeated (RFC 9112, section 3.2)"},
	badHost:      {400, "Host is not a name or address with at most a port (RFC 9112, section 3.2)"},
	hostDiffers:  {400, "the URL in the request line names another host than Host (RFC 9112, section 3.2.2)"},

	lengthRepeated:  {400, "Content-Length is repeated (RFC 9112, section 6.3)"},
	badLength:       {400, "Content-Length is not one number of at most 18 digits without leading zeros (RFC 9110, section 8.6)"},
	lengthAndCoding: {400, "Content-Length stands beside Transfer-Encoding (RFC 9112, section 6.3)"},
	codingRepeated:  {400, "Transfer-Encoding is repeated (RFC 9112, section 6.3)"},
	badCoding:       {400, "Transfer-Encoding is not chunked alone (RFC 9112, section 6.1)"},
	codingInOld:     {400, "Transfer-Encoding stands in HTTP/1.0 (RFC 9112, section 6.1)"},
	framedInterim:   {400, "an interim answer claims a body (RFC 9112, section 6.1; RFC 9110, section 8.6)"},

	badOption:       {400, "Connection is not a list of tokens (RFC 9110, section 7.6.1)"},
	optionForbidden: {400, "Connection names a field that is meant for the receiver (RFC 9110, section 7.6.1)"},
	tooManyOptions:  {400, "Connection names too many fields (RFC 9110, section 7.6.1)"},
	badExpect:       {417, "Expect is not 100-continue (RFC 9110, section 10.1.1)"},

	badChunkSize:  {400, "a chunk size is not hexadecimal digits, at most with an extension after a semicolon (RFC 9112, section 7.1)"},
	chunkSizeLong: {400, "a chunk size has more than 15 digits (RFC 9112, section 7.1)"},
	badChunkEnd:   {400, "a chunk is longer than its size says: CRLF is missing behind it (RFC 9112, section 7.1)"},
	extensionLong: {400, "the chunk extensions of a body are longer than 4 KiB (RFC 9112, section 7.1.1)"},
	trailerLong:   {431, "the trailer section is too long or has too many fields (RFC 9112, section 7.1.2)"},
}

// answerRules are the rules as a service breaks them: 502, whatever it was.
var answerRules = func() (a [numRules]Error) {
	for i, e := range rules {
		a[i] = Error{502, e.Text}
	}
	return a
}()

// inRequest is the error of a request that breaks r.
func (r rule) inRequest() error {
	switch r {
	case ok:
		return nil
	case short:
		return ErrShort
	case preface:
		return ErrPreface
	}
	return &rules[r]
}

// inAnswer is the error of an answer that breaks r.
func (r rule) inAnswer() error {
	switch r {
	case ok:
		return nil
	case short:
		return ErrShort
	}
	return &answerRules[r]
}
