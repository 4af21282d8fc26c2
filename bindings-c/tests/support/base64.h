// Standard base64 with padding, as the shared vectors have it.
#ifndef BASE64_H
#define BASE64_H

#include <millstream.h>

/// The bytes of a text; `data` is freed by free. Fails the test when it is not base64.
mill_slice base64_decode(const char* text);

#endif
