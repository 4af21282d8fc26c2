//! What a server's methods take and give: from a descriptor set, or asked of the server itself by
//! the gRPC Server Reflection Protocol (v1).

use std::path::Path;

use millstream::{CallOptions, Channel};
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::FileDescriptorProto;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use crate::{Failure, connect::explain};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// One exchange with the server's reflection service.
async fn ask(
    channel: &Channel,
    options: &CallOptions,
    question: MessageRequest,
) -> Result<MessageResponse, Failure> {
    let (mut requests, mut responses) = channel
        .bidi::<ServerReflectionRequest, ServerReflectionResponse>(REFLECTION, options.clone())?;
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let asked = async {
        requests.send(&request).await?;
        requests.half_close()?;
        responses.message().await
    };
    let response = asked.await.map_err(|error| {
        let status = error.status.clone();
        match status {
            Some(status) if status.code == millstream::Code::Unimplemented => {
                "the server has no reflection service; pass --schema with a descriptor set \
                 (protoc --include_imports --descriptor_set_out=FILE)"
                    .into()
            }
            _ => explain(error),
        }
    })?;
    match response.and_then(|response| response.message_response) {
        Some(MessageResponse::ErrorResponse(error)) => Err(error.error_message.into()),
        Some(answer) => Ok(answer),
        None => Err("the server's reflection service gave no answer".into()),
    }
}

/// The names of the server's services, sorted.
pub async fn services(channel: &Channel, options: &CallOptions) -> Result<Vec<String>, Failure> {
    match ask(channel, options, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => {
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            Ok(names)
        }
        other => Err(format!("the server answered a list of services with {other:?}").into()),
    }
}

/// The descriptors of a service: of the server, or of a file.
pub async fn pool(
    channel: &Channel,
    options: &CallOptions,
    service: &str,
    file: Option<&Path>,
) -> Result<DescriptorPool, Failure> {
    if let Some(file) = file {
        let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        return DescriptorPool::decode(bytes.as_slice())
            .map_err(|e| format!("{}: not a descriptor set: {e}", file.display()).into());
    }
    let question = MessageRequest::FileContainingSymbol(service.to_owned());
    let mut files = files_of(ask(channel, options, question).await?)?;
    // Servers may leave out what a file imports: asked for until nothing is missing.
    loop {
        let missing = files
            .iter()
            .flat_map(|file| &file.dependency)
            .find(|name| !files.iter().any(|file| file.name.as_ref() == Some(name)));
        let Some(missing) = missing.cloned() else { break };
        let question = MessageRequest::FileByFilename(missing.clone());
        let more = files_of(ask(channel, options, question).await?)?;
        if !more.iter().any(|file| file.name.as_ref() == Some(&missing)) {
            return Err(format!("the server does not have {missing:?}, which is imported").into());
        }
        files.extend(more);
    }
    let mut pool = DescriptorPool::new();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.dedup_by(|a, b| a.name == b.name);
    pool.add_file_descriptor_protos(files)
        .map_err(|e| format!("the server's descriptors are not right: {e}"))?;
    Ok(pool)
}

fn files_of(answer: MessageResponse) -> Result<Vec<FileDescriptorProto>, Failure> {
    match answer {
        MessageResponse::FileDescriptorResponse(files) => files
            .file_descriptor_proto
            .iter()
            .map(|bytes| {
                FileDescriptorProto::decode(bytes.as_slice()).map_err(|e| {
                    format!("the server sent a descriptor that does not parse: {e}").into()
                })
            })
            .collect(),
        other => Err(format!("the server answered a question for a file with {other:?}").into()),
    }
}

/// `package.Service/Method`, with or without a slash before it.
pub fn split_method(name: &str) -> Result<(&str, &str), Failure> {
    name.trim_start_matches('/')
        .split_once('/')
        .filter(|(service, method)| {
            !service.is_empty() && !method.is_empty() && !method.contains('/')
        })
        .ok_or_else(|| format!("method {name:?} is not of the form package.Service/Method").into())
}

pub fn method(
    pool: &DescriptorPool,
    service: &str,
    method: &str,
) -> Result<MethodDescriptor, Failure> {
    let found = pool
        .get_service_by_name(service)
        .ok_or_else(|| format!("there is no service {service:?} in the schema"))?;
    let methods: Vec<_> = found.methods().collect();
    let names: Vec<_> = methods.iter().map(|m| m.name().to_owned()).collect();
    methods.into_iter().find(|m| m.name() == method).ok_or_else(|| {
        format!("service {service:?} has no method {method:?}; it has {}", names.join(", ")).into()
    })
}
