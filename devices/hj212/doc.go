// Package hj212 is the host (上位机) for data loggers (数采仪, 现场机) that speak
// HJ 212, the data transmission standard of pollutant monitoring, of 2005, 2017
// and 2025. Loggers connect by TCP.
//
// # Frames
//
//	## + 4 decimal digits (bytes of the segment) + segment + 4 hex digits of CRC + CR LF
//	QN=…;ST=…;CN=…;PW=…;MN=…;Flag=…;[PNUM=…;PNO=…;]CP=&&DataTime=…;a34004-Rtd=35.2,a34004-Flag=N;…&&
//
// The segment has at most 1,024 bytes. [CRC] has only 256 values: it finds
// damage, it proves nothing. [Decoder] frames by length, over any cut of the
// stream, and finds the next frame after garbage. Strict mode takes what the
// standards print, besides frames without QN or Flag and QN without
// milliseconds, which the loggers of 2005 send. Tolerant mode takes the
// dialects of the field too: a length of three digits or one that does not fit,
// no CR LF, a semicolon before the closing &&, fields in another order,
// DataTime with milliseconds. Each packet names its dialects.
//
// The data area of 2025 may be encrypted with SM4, see [Cipher]; the CRC is
// that of the plain segment.
//
// Times are Beijing time. DataTime is the start of the interval for minute,
// hour and day data and the instant for real-time data, whose SampleTime, where
// it is given, is when the sample was taken.
package hj212
