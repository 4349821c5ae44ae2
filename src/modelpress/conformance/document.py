"""The published documents that checks stand on: each with its address and the date printed on it."""

from __future__ import annotations

from dataclasses import dataclass

_API = "https://cloud.baidu.com/doc/qianfan-api/s"
_GUIDE = "https://cloud.baidu.com/doc/WENXINWORKSHOP/s"
_MIRROR = "https://ai.baidu.com/ai-doc/WENXINWORKSHOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One published page; ``date`` is the one printed on it, "undated" where none is."""

    title: str
    url: str
    date: str


CREATE_TASK = Document(title="创建模型压缩任务", url=f"{_API}/Amwbl47el", date="2026-11-11")
DESCRIBE_TASK = Document(title="获取模型压缩任务详情", url=f"{_API}/Emm4awfhv", date="2026-02-27")
DESCRIBE_TASKS = Document(title="查看模型压缩任务列表", url=f"{_API}/Smm3enx6b", date="2026-02-26")
CANCEL_TASK = Document(title="停止模型压缩任务", url=f"{_API}/6mm37ozcf", date="2026-02-26")
DELETE_TASK = Document(title="删除模型压缩任务", url=f"{_API}/nmm39unwk", date="2026-02-26")
CREATE_SET = Document(title="新建我的模型", url=f"{_API}/Pmnij91ff", date="2026-04-03")
CREATE_VERSION = Document(title="新建我的模型版本", url=f"{_GUIDE}/Ylw02ns4o", date="2025-06-24")
DESCRIBE_SETS = Document(title="获取我的模型列表", url=f"{_API}/Pmnilec50", date="2026-04-03")
DESCRIBE_SET = Document(title="获取模型详情", url=f"{_API}/Rmnimjl8h", date="2026-04-03")
DESCRIBE_VERSION = Document(title="获取模型版本详情", url=f"{_GUIDE}/Plw02jx3a", date="2025-09-22")
DESCRIBE_SYSTEM_SETS = Document(title="获取预置模型列表", url=f"{_API}/imnimpnf7", date="2026-04-03")
DESCRIBE_SYSTEM_SET = Document(title="获取预置模型详情", url=f"{_API}/Imnin78he", date="2026-04-03")
DESCRIBE_SYSTEM_VERSION = Document(title="获取预置模型版本详情", url=f"{_API}/7mnimyrcg", date="2026-04-03")
CREATE_CUSTOM_CONF = Document(title="上传自定义对话模板文件", url=f"{_API}/dmnid3q5k", date="2026-04-03")
DESCRIBE_SYSTEM_CONF = Document(title="获取导入模型平台预置高级配置", url=f"{_API}/Dmnikcy0e", date="2026-04-03")
DESCRIBE_CUSTOM_CONF = Document(title="获取模型版本的高级配置", url=f"{_API}/lmnilunwq", date="2026-04-03")
DELETE_SET = Document(title="删除我的模型", url=f"{_API}/7mniip3oc", date="2026-04-03")
DELETE_VERSION = Document(title="删除我的模型版本", url=f"{_MIRROR}/hlxeg1tee", date="undated")
VERSION_DETAIL_V1 = Document(title="old API", url="https://wenxinyiyan.apifox.cn/doc-3261111", date="2024-08-05")
MODEL_DETAIL_V1 = Document(title="old API", url="https://wenxinyiyan.apifox.cn/doc-3261108", date="2024-08-05")
COMMON = Document(title="通用说明", url=f"{_MIRROR}/um4uzml11", date="2024-12-23")
ERRORS = Document(title="错误码", url="https://cloud.baidu.com/doc/qianfan/s/Pmh4sv5qa", date="undated")
AUTHENTICATION = Document(title="鉴权认证", url="https://cloud.baidu.com/doc/qianfan/s/tmh4suzoh", date="2025-12-15")
BCE_ERRORS = Document(
    title="BCE error codes", url="https://cloud.baidu.com/doc/Reference/s/Bjz3uz3qj", date="2019-08-13"
)
CREATE_EXPORT = Document(
    title="创建模型版本导出任务", url="https://cloud.baidu.com/doc/qianfan/s/Wmh4sv34z", date="2025-10-29"
)
DESCRIBE_EXPORT = Document(title="获取模型版本打包导出任务", url=f"{_API}/wmniloeoc", date="2026-04-03")
#: Of what no document has.
OURS = Document(title="modelpress", url="docs/api.md", date="undated")
SDK = Document(title="SDK source", url="https://github.com/baidubce/bce-qianfan-sdk", date="2025-12-12")
