package collect

import "time"

// A Partition is whose use is measured.
type Partition struct {
	ID     string // slappart0
	Folder string // measured for disk use
	User   string // name in the tables, slapuser0
	// UID of its processes. Where partitions share it, the environment tells
	// whose a process is.
	UID uint32
}

// A Process is one process of a partition: a row of the table user.
type Process struct {
	Partition     string  // name of the user
	PID           int     //
	Name          string  // PID-CREATED, seconds since 1970
	CPUPercent    float64 // of one core, since the sample before
	CPUTime       float64 // seconds, user and system
	Threads       int
	MemoryPercent float64
	RSS           int64 // bytes
	IOBytes       int64 // read and written
	IOCalls       int64 // read and write calls
}

// A Folder is the disk use of a partition: a row of the table folder.
type Folder struct {
	Partition string
	Used      int64 // kB
}

// A System is the computer's load: the row of the table system.
type System struct {
	Load, CPUPercent          float64
	MemoryUsed, MemoryFree    int64 // bytes
	NetInBytes, NetInErrors   int64
	NetInDropped              int64
	NetOutBytes, NetOutErrors int64
	NetOutDropped             int64
}

// A Computer is what the computer is: the row of the table computer.
type Computer struct {
	Cores      int
	Frequency  float64 // MHz
	Type       string
	MemorySize int64 // bytes
	MemoryType string
	Partitions string // DEVICE=BYTES;…
}

// A Disk is a mounted file system: a row of the table disk.
type Disk struct {
	Partition  string // device
	Used, Free int64  // bytes
	Mountpoint string
}

// A Temperature is a sensor: a row of the table temperature.
type Temperature struct {
	Sensor  string
	Celsius float64
	Alarm   int // 1 from the sensor's maximum on, 2 from its critical value on
}

// A Sample is everything at one time.
type Sample struct {
	Time         time.Time // UTC, whole seconds
	Processes    []Process
	Folders      []Folder // only where disk use was measured now
	System       System
	Computer     Computer
	Disks        []Disk
	Temperatures []Temperature
}
