// Package memory keeps the gateway within the memory that it is given. [Headroom] and
// [Bound] set Go's garbage collector; where a control group bounds the memory, [Watch]
// sends those away who can do without pictures before it ends.
//
// Of what a control group may take, in the order in which it fills:
//
//	80 %  below it everybody is let in again
//	88 %  the collector works harder, so that what goes beyond is in use and not garbage
//	90 %  who watches live goes: browsers, readers by RTSP, and a platform that pulls
//	95 %  the streams go that the platform has had sent to it
//
// Readings, judgement, evidence and recordings are never shed. Without a control group
// that has a limit nothing is: a machine of its own has the kernel's judgement only.
package memory
