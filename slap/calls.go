package slap

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"time"
)

// States to ask for.
const (
	Started   = "started"
	Stopped   = "stopped"
	Destroyed = "destroyed"
	Available = "available" // of a software release
)

// A Request asks for an instance. Reference is its title, by which it is
// known when it is asked for again.
type Request struct {
	Reference  string
	Software   string // URL of the release
	Type       string // default "default"
	State      string // "" keeps the present one
	Shared     bool
	Parameters map[string]any
	Filter     map[string]any // such as computer_guid
}

// Request asks once. ErrNotReady means that the master has taken the request
// and wants to be asked again.
func (c *Client) Request(ctx context.Context, r Request) (*Instance, error) {
	v, err := c.RequestValue(ctx, r)
	if err != nil {
		return nil, err
	}
	return toInstance(v)
}

// RequestValue is Request with the answer as it came.
func (c *Client) RequestValue(ctx context.Context, r Request) (any, error) {
	if r.Type == "" {
		r.Type = "default"
	}
	form := url.Values{"software_release": {r.Software}, "software_type": {r.Type}, "partition_reference": {r.Reference}}
	var state any
	if r.State != "" {
		state = r.State
	}
	for field, v := range map[string]any{"shared_xml": r.Shared, "partition_parameter_xml": orEmpty(r.Parameters), "filter_xml": orEmpty(r.Filter), "state": state} {
		b, err := Marshal(v)
		if err != nil {
			return nil, err
		}
		form.Set(field, string(b))
	}
	if c.as != (Place{}) {
		form.Set("computer_id", c.as.Computer)
		form.Set("computer_partition_id", c.as.Partition)
	}
	return c.postValue(ctx, "/requestComputerPartition", form)
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// RequestUntilReady asks until there is an answer other than "please wait",
// or until the context ends; the pauses grow from one second to a minute.
func (c *Client) RequestUntilReady(ctx context.Context, r Request) (*Instance, error) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		i, err := c.Request(ctx, r)
		if !errors.Is(err, ErrNotReady) {
			return i, err
		}
		wait := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// Supply asks a computer to install a release (Available) or to remove it
// (Destroyed).
func (c *Client) Supply(ctx context.Context, software, computer, state string) error {
	_, err := c.Post(ctx, "/supplySupply", url.Values{"url": {software}, "computer_id": {computer}, "state": {state}})
	return err
}

// Computer gives all that a node has to know.
func (c *Client) Computer(ctx context.Context, id string) (*Computer, error) {
	query := url.Values{"computer_id": {id}}
	v, err := c.getValue(ctx, "/getFullComputerInformation", query)
	if errors.Is(err, ErrNotFound) {
		v, err = c.getValue(ctx, "/getComputerInformation", query)
	}
	if err != nil {
		return nil, err
	}
	return toComputer(v)
}

// Partition gives one partition.
func (c *Client) Partition(ctx context.Context, p Place) (*Partition, error) {
	v, err := c.getValue(ctx, "/registerComputerPartition", url.Values{
		"computer_reference": {p.Computer}, "computer_partition_reference": {p.Partition}})
	if err != nil {
		return nil, err
	}
	return toPartition(v)
}

// Product gives the releases of a product, the latest first.
func (c *Client) Product(ctx context.Context, name string) ([]string, error) {
	v, err := c.getValue(ctx, "/getSoftwareReleaseListFromSoftwareProduct", url.Values{"software_product_reference": {name}})
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if !ok {
		return nil, unexpected("a list of releases", v)
	}
	var urls []string
	for _, i := range items {
		if s, ok := i.(string); ok {
			urls = append(urls, s)
		}
	}
	return urls, nil
}

// A Certificate is a PEM certificate with its key.
type Certificate struct{ Certificate, Key string }

// PartitionCertificate gives a partition's certificate; a master that issues
// none gives empty texts.
func (c *Client) PartitionCertificate(ctx context.Context, p Place) (Certificate, error) {
	v, err := c.getValue(ctx, "/getComputerPartitionCertificate", url.Values{"computer_id": {p.Computer}, "computer_partition_id": {p.Partition}})
	if err != nil {
		return Certificate{}, err
	}
	return toCertificate(v)
}

// Format tells the master what a computer is: the dictionary that slapformat
// sends, with reference, address, netmask and partition_list.
func (c *Client) Format(ctx context.Context, description map[string]any) error {
	b, err := Marshal(description)
	if err != nil {
		return err
	}
	_, err = c.Post(ctx, "/loadComputerConfigurationFromXML", url.Values{"xml": {string(b)}})
	return err
}

// A Report is what a node tells of an instance.
type Report string

// Reports of instances.
const (
	ReportStarted   Report = "/startedComputerPartition"
	ReportStopped   Report = "/stoppedComputerPartition"
	ReportDestroyed Report = "/destroyedComputerPartition"
	ReportError     Report = "/softwareInstanceError" // with a log
	ReportBang      Report = "/softwareInstanceBang"  // with a message
)

// Report tells the state of a partition. The text is the log of an error or
// the message of a bang. The answer's text is given: a destroyed partition
// that others depend on is not freed, and the text says so.
func (c *Client) Report(ctx context.Context, p Place, r Report, text string) (string, error) {
	form := onPlace(p)
	switch r {
	case ReportError:
		form.Set("error_log", text)
	case ReportBang:
		form.Set("message", text)
	}
	b, err := c.On(p).Post(ctx, string(r), form)
	return string(b), err
}

// A ReleaseReport is what a node tells of a software release.
type ReleaseReport string

// Reports of software releases.
const (
	ReleaseBuilding  ReleaseReport = "/buildingSoftwareRelease"
	ReleaseAvailable ReleaseReport = "/availableSoftwareRelease"
	ReleaseDestroyed ReleaseReport = "/destroyedSoftwareRelease"
	ReleaseError     ReleaseReport = "/softwareReleaseError" // with a log
)

// ReportRelease tells the state of a software release on a computer.
func (c *Client) ReportRelease(ctx context.Context, software, computer string, r ReleaseReport, log string) error {
	form := url.Values{"url": {software}, "computer_id": {computer}}
	if r == ReleaseError {
		form.Set("error_log", log)
	}
	_, err := c.Post(ctx, string(r), form)
	return err
}

// Publish sets what an instance tells its requester, or, with a shared
// instance's reference, what that one's requester is told.
func (c *Client) Publish(ctx context.Context, p Place, connection map[string]any, shared string) error {
	b, err := Marshal(orEmpty(connection))
	if err != nil {
		return err
	}
	form := onPlace(p)
	form.Set("connection_xml", string(b))
	if shared != "" {
		form.Set("slave_reference", shared)
	}
	_, err = c.On(p).Post(ctx, "/setComputerPartitionConnectionXml", form)
	return err
}

// Rename gives an instance another title.
func (c *Client) Rename(ctx context.Context, p Place, title string) error {
	form := onPlace(p)
	form.Set("new_name", title)
	_, err := c.On(p).Post(ctx, "/softwareInstanceRename", form)
	return err
}

// BangComputer asks a computer to process all its instances again.
func (c *Client) BangComputer(ctx context.Context, id, message string) error {
	_, err := c.Post(ctx, "/computerBang", url.Values{"computer_id": {id}, "message": {message}})
	return err
}

// ReportUsage sends a journal of what a computer's instances used.
func (c *Client) ReportUsage(ctx context.Context, id, journal string) error {
	_, err := c.Post(ctx, "/useComputer", url.Values{"computer_id": {id}, "use_string": {journal}})
	return err
}

// Related tells the titles of the instances that a partition asked for.
func (c *Client) Related(ctx context.Context, p Place, titles []string) error {
	b, err := Marshal(titles)
	if err != nil {
		return err
	}
	form := onPlace(p)
	form.Set("instance_reference_xml", string(b))
	_, err = c.On(p).Post(ctx, "/updateComputerPartitionRelatedInstanceList", form)
	return err
}

// RunID gives the text by which a slapproxy or weir knows itself.
func (c *Client) RunID(ctx context.Context) (string, error) {
	b, err := c.Get(ctx, "/getRunId", nil)
	return string(b), err
}

func onPlace(p Place) url.Values {
	return url.Values{"computer_id": {p.Computer}, "computer_partition_id": {p.Partition}}
}

func (c *Client) getValue(ctx context.Context, path string, query url.Values) (any, error) {
	b, err := c.Get(ctx, path, query)
	if err != nil {
		return nil, err
	}
	return Unmarshal(b)
}

func (c *Client) postValue(ctx context.Context, path string, form url.Values) (any, error) {
	b, err := c.Post(ctx, path, form)
	if err != nil {
		return nil, err
	}
	return Unmarshal(b)
}
