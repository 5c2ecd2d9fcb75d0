package recording

import (
	"errors"
	"io"
	"os"
	"time"
)

// suspect is how many of the last fragments may hold what never reached the disk:
// those of the last Sync, and some more.
const suspect = 8

// mend cuts the file that a crash has left off behind its last whole fragment
// and gives it its name; one without a picture is deleted.
func (a *Archive) mend(camera, day, name string) error {
	path := camera + "/" + day + "/" + name
	from, err := time.Parse(dayForm+timeForm+partEnd, day+name)
	if err != nil {
		return nil //nolint:nilerr // no file of ours
	}
	f, err := a.root.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return storageProblem(err)
	}
	end, length, err := lastWhole(f)
	if err == nil && end > 0 {
		err = errors.Join(f.Truncate(end), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return storageProblem(err)
	}
	if end == 0 {
		if err := a.root.Remove(path); err != nil {
			return storageProblem(err)
		}
		return nil
	}
	s := Segment{Camera: camera, From: from, Bytes: end}
	if err := a.root.Rename(path, camera+"/"+day+"/"+wholeName(from, length, end)); err != nil {
		return storageProblem(err)
	}
	a.count(s, end)
	a.cfg.Log.Info("recording mended after a crash", "camera", camera, "from", from)
	return nil
}

// file is what lastWhole reads.
type file interface {
	io.ReaderAt
	Stat() (os.FileInfo, error)
}

// lastWhole gives where the last whole fragment ends and how long the file plays
// up to there; zero where there is none.
func lastWhole(f file) (end int64, length time.Duration, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	h, err := readHead(f, info.Size())
	if errors.Is(err, errTorn) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	var all []fragment
	var buf []byte
	for off := h.length; ; {
		var fr fragment
		fr, buf, err = readFragment(f, off, info.Size(), buf)
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		all = append(all, fragment{base: fr.base + fr.ticks(), samples: fr.samples, payload: fr.payload, end: fr.end})
		if n := len(all); n > suspect {
			all[n-1-suspect].samples = nil // not looked at any more
		}
		off = fr.end
	}
	// What was appended before a damaged fragment may be damaged too.
	whole := len(all)
	for i := max(0, len(all)-suspect); i < len(all); i++ {
		if ok, err := sound(f, h.codec, all[i]); err != nil {
			return 0, 0, err
		} else if !ok {
			whole = i
			break
		}
	}
	if whole == 0 {
		return 0, 0, nil
	}
	last := all[whole-1]
	return last.end, duration(last.base), nil
}

// sound says whether the samples of a fragment are what they should be: a file
// system may give room to a file and then lose what was to be in it.
func sound(r io.ReaderAt, codec string, f fragment) (bool, error) {
	data := make([]byte, f.end-f.payload)
	if _, err := r.ReadAt(data, f.payload); err != nil {
		return false, err
	}
	for _, s := range f.samples {
		one := data[:s.size]
		data = data[s.size:]
		if codec == "mp4v" {
			if len(one) < 4 || one[0] != 0xff || one[1] != 0xd8 {
				return false, nil
			}
			continue
		}
		for len(one) > 0 {
			if len(one) < 5 || be.Uint32(one) == 0 || int64(be.Uint32(one)) > int64(len(one)-4) {
				return false, nil
			}
			one = one[4+be.Uint32(one):]
		}
	}
	return true, nil
}
