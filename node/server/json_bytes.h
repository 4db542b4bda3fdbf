// Bytes in the JSON of the client API: as text if they are UTF-8, else as base64, which a second
// member then says ("encoding" of values, "key_encoding" of keys).
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace raftkv::server {

// Appends "name":"..." and, if the bytes are no text, ,"encoding_name":"base64".
void AppendBytes(std::string_view name, std::string_view encoding_name, std::string_view bytes,
                 std::string* out);

}  // namespace raftkv::server
