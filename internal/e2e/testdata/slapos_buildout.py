"""Stands for buildout: makes a release of any URL, and its instances. An
instance of type "default" asks for one of type "backend" and publishes its
URL; a release whose URL ends in broken.cfg cannot be built, an instance with
the parameter broken neither."""
import configparser, os, stat, sys

def script(name, text):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "w") as f:
        f.write(text)
    os.chmod(name, 0o755)

def instance(c):
    import slapos.slap
    slap = slapos.slap.slap()
    slap.initializeConnection(c["server-url"], c.get("key-file"), c.get("cert-file"))
    me = slap.registerComputerPartition(c["computer-id"], c["partition-id"])
    told = me.getInstanceParameterDict()
    if told.get("broken"):
        sys.exit("no room in " + me.getId())
    script("etc/service/sleeper", "#!/bin/sh\nexec sleep 100000\n")
    os.makedirs("var/xml_report", exist_ok=True)
    script("etc/report/usage", "#!/bin/sh\necho '<consumption><movement><resource>cpu</resource><title>t</title><reference>r</reference>"
           "<quantity>2.5</quantity><price>0.0</price><VAT></VAT><category></category></movement></consumption>' >\"$1\"\n")
    if me.getType() == "backend":
        me.setConnectionDict({"url": "http://backend/" + told["size"]})
        return
    child = me.request(c["software-release-url"], "backend", "backend", partition_parameter_kw={"size": told.get("size", "1")})
    try:
        url = child.getConnectionParameter("url")
    except slapos.slap.NotFoundError:
        sys.exit("the backend publishes nothing yet")
    me.setConnectionDict({"url": url + "/front"})

if "bootstrap" in sys.argv:
    with open(__file__) as f:
        text = f.read()
    script("bin/buildout", text if text.startswith("#!") else "#!%s\n%s" % (sys.executable, text))
    sys.exit()
c = configparser.ConfigParser(interpolation=None)
c.read("buildout.cfg")
if c.has_section("slap-connection"):
    instance(c["slap-connection"])
    sys.exit()
if c["buildout"]["extends"].endswith("broken.cfg"):
    sys.exit("no compiler for " + c["buildout"]["extends"])
with open("instance.cfg", "w") as f:
    f.write("# an instance\n")
