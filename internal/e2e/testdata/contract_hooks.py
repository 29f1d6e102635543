"""What schemathesis cannot know by itself: a protobuf body is its bytes."""
import schemathesis


@schemathesis.serializer("application/x-protobuf")
def protobuf(ctx, value):
    return value if isinstance(value, bytes) else repr(value).encode()
